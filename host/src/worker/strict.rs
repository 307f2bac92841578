//! What the HTTP library lets pass and a server should not: requests that another server on the
//! way may read differently. A request refused here is the last of its connection.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, Method, Uri, Version};

use super::failure::Failure;

type Checked = Result<(), Failure>;

pub fn check(method: &Method, uri: &Uri, version: Version, headers: &HeaderMap) -> Checked {
    if *method == Method::CONNECT {
        return Err(Failure::NotImplemented("this server is no proxy"));
    }
    target(method, uri, version)?;
    host(uri, version, headers)?;
    framing(headers)
}

/// RFC 9112, 3.2: a path, a whole `http` URI, or `*` for OPTIONS.
fn target(method: &Method, uri: &Uri, version: Version) -> Checked {
    if let Some(scheme) = uri.scheme_str()
        && !["http", "https"].contains(&scheme)
    {
        return Err(Failure::BadRequest("the target's scheme is not http"));
    }
    if uri.authority().is_some() && uri.scheme().is_none() && version <= Version::HTTP_11 {
        return Err(Failure::BadRequest("the target is a host without a path"));
    }
    if uri.authority().is_some_and(|authority| well_formed(authority.as_str()).is_none()) {
        return Err(Failure::BadRequest("the target's host is malformed"));
    }
    match uri.path() {
        "*" if *method != Method::OPTIONS => Err(Failure::BadRequest("the target is no path")),
        _ => Ok(()),
    }
}

/// RFC 9112, 3.2.2 and 3.2.3: exactly one `host` in 1.1, well-formed; RFC 9113, 8.3.1: in HTTP/2
/// one that says what `:authority` says. The URI's own authority is what counts.
fn host(uri: &Uri, version: Version, headers: &HeaderMap) -> Checked {
    let mut hosts = headers.get_all(HOST).iter();
    let first = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Failure::BadRequest("the request names two hosts")),
        (Some(first), None) => first,
        (None, None) if version == Version::HTTP_11 || uri.authority().is_none() => {
            return Err(Failure::BadRequest("the request names no host"));
        }
        (None, None) => return Ok(()),
    };
    let Some(named) = first.to_str().ok().and_then(well_formed) else {
        return Err(Failure::BadRequest("the host is malformed"));
    };
    match uri.authority() {
        Some(authority) if version >= Version::HTTP_2 && *authority != named => {
            Err(Failure::BadRequest("host and authority differ"))
        }
        _ => Ok(()),
    }
}

fn well_formed(text: &str) -> Option<Authority> {
    // A port is digits; the type takes any number, and a user before the host.
    let named: Authority = text.parse().ok()?;
    let port = text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port);
    let port_fits = port.is_none_or(|port| port.is_empty() || named.port_u16().is_some());
    (!named.host().is_empty() && !text.contains(['@', ',']) && port_fits).then_some(named)
}

/// RFC 9112, 6.1: the one coding we know, once. With a length beside it the library takes the
/// coding and closes; more than one length is never passed on, even if they agree.
fn framing(headers: &HeaderMap) -> Checked {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        (Some(only), None) if !only.as_bytes().contains(&b',') => {
            return Err(Failure::BadRequest("the transfer coding is malformed"));
        }
        _ => return Err(Failure::NotImplemented("only the chunked coding is known, and once")),
    }
    match headers.get_all(CONTENT_LENGTH).iter().count() {
        0 | 1 => Ok(()),
        _ => Err(Failure::BadRequest("the request has two lengths")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn with(version: Version, target: &str, headers: &[(&str, &str)]) -> Checked {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        check(&Method::GET, &target.parse().unwrap(), version, &map)
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for good in ["a", "a.example:80", "127.0.0.1", "[::1]:8080", "[::1]", "a:", "A-1.example"] {
            assert!(with(Version::HTTP_11, "/", &[("host", good)]).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a,b", "me@a", "a/b", "a:x", "a:99999", "[::1", "a?b", "http://a"] {
            assert!(with(Version::HTTP_11, "/", &[("host", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn http2_may_name_the_host_twice_if_it_is_the_same() {
        let names = |host| with(Version::HTTP_2, "http://a.example:8080/", &[("host", host)]);
        assert!(names("a.example:8080").is_ok() && names("A.EXAMPLE:8080").is_ok());
        assert!(names("b.example:8080").is_err() && names("a.example").is_err());
        assert!(with(Version::HTTP_2, "http://a/", &[]).is_ok());
    }
}
