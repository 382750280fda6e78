//! How safely a server is reached: over which network, and in which version.

use core::net::IpAddr;

use http::Uri;

use crate::types::Network;

/// Networks that are nobody else's, or end at this machine (RFC 1918, 3927, 4193, 4291, 6598, 8200).
const PRIVATE: &[&str] = &[
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1",
    "fc00::/7",
    "fe80::/10",
];

/// Ends of names that no public server has (RFC 6761, 6762, 8375; ICANN resolution 2024.07.29.06 for `internal`).
const LOCAL: &[&str] = &[
    ".internal",
    ".lan",
    ".local",
    ".localhost",
    ".home.arpa",
    ".test",
];

/// Programs that fetch a package and run it, and what stands between the package and its version.
const RUNNERS: &[(&str, &[&str])] = &[
    ("bunx", &["@"]),
    ("npx", &["@"]),
    ("pipx", &["=="]),
    ("uvx", &["==", "@"]),
];

/// Whether a URL is plain http to a host that may be anywhere. What is no URL was reported elsewhere.
pub(super) fn is_open_http(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default();
    uri.scheme_str() == Some("http") && !is_private(host)
}

fn is_private(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        let networks = PRIVATE
            .iter()
            .filter_map(|text| text.parse::<Network>().ok());
        return networks
            .into_iter()
            .any(|network| network.contains(address));
    }
    // A name without a dot is found only where somebody set it up: a container, or `/etc/hosts`.
    !host.contains('.') || LOCAL.iter().any(|end| host.ends_with(end))
}

/// The package that a command fetches without saying which version.
pub(super) fn unpinned(command: &str, args: &[String]) -> Option<String> {
    let program = command.rsplit(['/', '\\']).next()?;
    let (_, marks) = RUNNERS.iter().find(|(runner, _)| *runner == program)?;
    let package = package(program, args)?;
    // `@scope/name` begins with the sign that parts a version from a name.
    let name = package.get(1..).unwrap_or_default();
    let version = marks.iter().filter_map(|mark| name.split_once(mark)).next();
    let is_pinned = version.is_some_and(|(_, version)| !version.is_empty() && version != "latest");
    let is_path = package.starts_with(['.', '/']) || package.contains("://");
    (!is_pinned && !is_path).then(|| package.to_owned())
}

/// The first argument that is no option, or what `--package` and its like name.
fn package<'a>(program: &str, args: &'a [String]) -> Option<&'a str> {
    const NAMING: &[&str] = &["--from", "--package", "--spec", "-p"];
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        if let Some((_, named)) = arg
            .split_once('=')
            .filter(|(option, _)| NAMING.contains(option))
        {
            return Some(named);
        }
        if NAMING.contains(&arg) {
            return args.next();
        }
        if !(arg.starts_with('-') || program == "pipx" && arg == "run") {
            return Some(arg);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_hosts_that_nobody_else_has() {
        for url in [
            "http://outline:3000/mcp",
            "http://localhost/",
            "http://127.0.0.1:8080/",
            "http://[::1]/",
            "http://[fd00::1]/",
            "http://10.1.2.3/",
            "http://box.internal./",
            "https://api.example.com/",
            "no url",
            "",
        ] {
            assert!(!is_open_http(url), "{url}");
        }
        for url in [
            "http://api.example.com/",
            "http://8.8.8.8/",
            "http://[2001:db8::1]/",
            "http://internal.example.com/",
        ] {
            assert!(is_open_http(url), "{url}");
        }
    }

    #[test]
    fn a_package_is_pinned_by_its_version_and_not_by_latest() {
        let found = |command: &str, args: &[&str]| {
            let args: Vec<String> = args.iter().map(|&arg| arg.into()).collect();
            unpinned(command, &args)
        };
        for (command, args) in [
            ("npx", &["-y", "@scope/name@1.2.3", "/data"][..]),
            ("npx", &["name@2"]),
            ("npx", &["--package=name@1.2.3", "run"]),
            ("npx", &["./local"]),
            ("uvx", &["name==1.0"]),
            ("uvx", &["--from", "name@1.0", "tool"]),
            ("pipx", &["run", "name==1.0"]),
            ("/opt/server", &["name"]),
            ("npx", &[]),
        ] {
            assert_eq!(found(command, args), None, "{command} {args:?}");
        }
        for (command, args, package) in [
            ("npx", &["-y", "@scope/name", "/data@2"][..], "@scope/name"),
            ("npx", &["name@latest"], "name@latest"),
            ("/usr/bin/uvx", &["name"], "name"),
            ("uvx", &["--from", "name", "tool==1"], "name"),
            ("pipx", &["run", "name"], "name"),
            ("bunx", &["@scope/name@"], "@scope/name@"),
        ] {
            assert_eq!(
                found(command, args).as_deref(),
                Some(package),
                "{command} {args:?}"
            );
        }
    }
}
