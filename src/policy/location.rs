//! Whether a path or URL lies below another, however it is spelled. What could climb out of it does not.

/// How often a value may be percent-encoded over and over; no server decodes so often.
const MAX_DECODINGS: usize = 4;

/// What a value must begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beginning {
    written: String,
    normal: String,
    /// Whether what follows must be a part of its own: `/data` is not the beginning of `/database`.
    is_whole: bool,
}

impl Beginning {
    /// `None` when nothing could begin so, because it climbs up itself.
    pub(super) fn new(written: &str) -> Option<Self> {
        if !is_path(written) {
            return Some(Self {
                written: written.to_owned(),
                normal: written.to_owned(),
                is_whole: false,
            });
        }
        let last = written.bytes().next_back();
        Some(Self {
            written: written.to_owned(),
            normal: normal(written)?,
            is_whole: last.is_some_and(|byte| byte.is_ascii_alphanumeric()),
        })
    }

    /// As written in the file.
    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether a value begins so.
    pub(super) fn fits(&self, value: &str) -> bool {
        if !is_path(&self.written) {
            return value.starts_with(&self.written) && !climbs(value);
        }
        let Some(value) = normal(value) else {
            return false;
        };
        let Some(rest) = value.strip_prefix(&self.normal) else {
            return false;
        };
        !self.is_whole || rest.is_empty() || rest.starts_with(['/', '\\', '?', '#'])
    }
}

fn is_path(text: &str) -> bool {
    text.contains(['/', '\\'])
}

/// The value with its scheme and host in lower case and without empty and `.` parts; `None` when some reader could
/// make it lead elsewhere.
///
/// A `\` in a URL is one of these: what a browser takes for a slash is part of the user's name for others (the WHATWG
/// URL standard and RFC 3986 differ here).
fn normal(value: &str) -> Option<String> {
    if value.chars().any(char::is_control) || climbs(value) {
        return None;
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        return Some(without_empty_parts(value));
    };
    if value.contains('\\') {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path_end = path.find(['?', '#']).unwrap_or(path.len());
    let (path, query) = path.split_at(path_end);
    let path = without_empty_parts(path);
    Some(format!(
        "{}://{}{path}{query}",
        scheme.to_lowercase(),
        host.to_lowercase()
    ))
}

/// Whether some part is `..`, also behind percent signs.
fn climbs(value: &str) -> bool {
    let mut text = value.to_owned();
    for _ in 0..MAX_DECODINGS {
        let mut parts = text.split(['/', '\\', '?', '#']);
        if parts.any(|part| part == "..") {
            return true;
        }
        let decoded = percent_encoding::percent_decode_str(&text)
            .decode_utf8_lossy()
            .into_owned();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
    true
}

/// A leading `//` stays: for some readers it begins the name of a host.
fn without_empty_parts(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let parts: Vec<&str> = path.split('/').collect();
    let last = parts.len().saturating_sub(1);
    for (at, part) in parts.iter().enumerate() {
        let is_inner = at > 1 || (at == 1 && !path.starts_with("//"));
        let is_needless = *part == "." || (part.is_empty() && is_inner);
        if !is_needless || (at == last && at > 0) {
            kept.push(if *part == "." { "" } else { part });
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(beginning: &str, value: &str) -> bool {
        Beginning::new(beginning).unwrap().fits(value)
    }

    #[test]
    fn what_lies_below_fits_however_it_is_spelled() {
        for (beginning, value) in [
            ("/data", "/data"),
            ("/data", "/data/"),
            ("/data", "/data/x.txt"),
            ("/data", "/data//x"),
            ("/data", "/./data/./x"),
            ("/data/", "/data/x"),
            ("/data/", "/data/."),
            ("/data/report-", "/data/report-7"),
            ("data/x", "./data/x"),
            ("C:\\data", "C:\\data\\x"),
            ("https://api.example.com", "HTTPS://API.example.com"),
            ("https://api.example.com", "https://api.example.com/x?y=1"),
            ("https://api.example.com", "https://api.example.com?y=1"),
            (
                "https://api.example.com/v1",
                "https://api.example.com/v1//x",
            ),
            ("fix:", "fix: a/b\nand more"),
            ("acme-", "acme-website"),
            ("acme", "acmeland"),
        ] {
            assert!(fits(beginning, value), "{beginning} {value}");
        }
    }

    #[test]
    fn what_leads_elsewhere_does_not_fit() {
        for (beginning, value) in [
            ("/data", "/database"),
            ("/data", "/etc"),
            ("/data", "//data/x"),
            ("/data", "/Data/x"),
            ("/data", "/data/../etc"),
            ("/data", "/data/.."),
            ("/data", "/data/%2e%2e/etc"),
            ("/data", "/data/%252E%252e/etc"),
            ("/data", "/data/%2525252525252e/etc"),
            ("/data", "/data/..%2fetc"),
            ("/data", "/data\\..\\etc"),
            ("/data", "/data/.\t./etc"),
            ("/data", "/data/x\0"),
            (
                "https://api.example.com",
                "https://api.example.com.evil.org",
            ),
            (
                "https://api.example.com",
                "https://api.example.com@evil.org",
            ),
            ("https://api.example.com", "https://api.example.com:99"),
            (
                "https://api.example.com",
                "https://api.example.com\\@evil.org",
            ),
            ("https://api.example.com/v1", "https://api.example.com/V1"),
            (
                "https://api.example.com/v1/",
                "https://api.example.com/v1/../admin",
            ),
            ("acme-", "acme-/../x"),
        ] {
            assert!(!fits(beginning, value), "{beginning} {value}");
        }
        assert_eq!(Beginning::new("/data/../etc"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_fits_climbs_out(value in "(/|\\.|\\.\\.|%2e|a|data){0,8}") {
            if fits("/data", &value) {
                let decoded = percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned();
                let mut depth = 0_i32;
                for part in decoded.split('/').filter(|part| !part.is_empty() && *part != ".") {
                    depth += if part == ".." { -1 } else { 1 };
                    proptest::prop_assert!(depth > 0, "{}", value);
                }
            }
        }
    }
}
