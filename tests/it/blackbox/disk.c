/* A disk that misbehaves: preloaded before the C library into a gateway, it does to the files of the log what one word
 * in the file named by FAULT says, for as long as that file is there.
 *
 *   hang       what was written is not made durable until the word is gone
 *   fail       making it durable fails, once
 *   read-only  nothing can be written
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_of_the_log(int file) {
    char link[64], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    return strstr(name, "hayward.db") != NULL;
}

static int is_ordered(int file, const char *word) {
    int before = errno, is = 0;
    const char *order = getenv("FAULT");
    if (order != NULL && is_of_the_log(file)) {
        int orders = open(order, O_RDONLY | O_CLOEXEC);
        char said[16] = "";
        if (orders >= 0) {
            is = read(orders, said, sizeof said - 1) > 0 && strcmp(said, word) == 0;
            close(orders);
        }
    }
    errno = before;
    return is;
}

/* Whether to fail. Of several at once, one does. */
static int misbehaves(int file) {
    while (is_ordered(file, "hang")) usleep(5000);
    if (is_ordered(file, "fail") && unlink(getenv("FAULT")) == 0) {
        errno = EIO;
        return 1;
    }
    return 0;
}

int fsync(int file) { return misbehaves(file) ? -1 : syscall(SYS_fsync, file); }

int fdatasync(int file) { return misbehaves(file) ? -1 : syscall(SYS_fdatasync, file); }

static int is_closed(int file) {
    int closed = is_ordered(file, "read-only");
    if (closed) errno = EROFS;
    return closed;
}

ssize_t write(int file, const void *bytes, size_t count) {
    return is_closed(file) ? -1 : syscall(SYS_write, file, bytes, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    return is_closed(file) ? -1 : syscall(SYS_pwrite64, file, bytes, count, at);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) { return pwrite64(file, bytes, count, at); }
