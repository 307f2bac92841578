//! Which function answers which path.

use std::{future::Future, pin::Pin, rc::Rc};

use http::{Method, StatusCode, header::ALLOW};

use crate::{IntoResponse, Request, Response};

type Answer = Pin<Box<dyn Future<Output = Response>>>;
type Handler = Rc<dyn Fn(Request, Params) -> Answer>;

/// What the named parts of a route's path stand for, percent-encoding left as it is.
#[derive(Debug, Default, Clone)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// The text a part of this name matched; empty if the route has no such part.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }
}

/// Routes by method and path. A part `:name` of a route matches one part of the path, `*name` at its end matches all
/// the rest. The first route that fits is taken; a path without a route is 404, a known path with another method 405.
///
/// ```no_run
/// use host::{Params, Request, Response, Router};
///
/// #[host::http]
/// async fn routes(request: Request) -> Response {
///     Router::new()
///         .get("/", async |_, _| "home")
///         .get("/hello/:name", hello)
///         .post("/echo", async |request: Request, _| request.into_body())
///         .handle(request)
///         .await
/// }
///
/// async fn hello(_request: Request, params: Params) -> String {
///     format!("hello {}\n", params.get("name"))
/// }
/// ```
#[derive(Default)]
pub struct Router {
    routes: Vec<Route>,
}

struct Route {
    /// None stands for every method.
    method: Option<Method>,
    path: &'static str,
    handler: Handler,
}

impl Router {
    /// No routes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A route for GET and HEAD.
    pub fn get<F, R>(
        self,
        path: &'static str,
        handler: impl Fn(Request, Params) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = R> + 'static,
        R: IntoResponse,
    {
        self.route(Method::GET, path, handler)
    }

    /// A route for POST.
    pub fn post<F, R>(
        self,
        path: &'static str,
        handler: impl Fn(Request, Params) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = R> + 'static,
        R: IntoResponse,
    {
        self.route(Method::POST, path, handler)
    }

    /// A route for a method.
    pub fn route<F, R>(
        self,
        method: Method,
        path: &'static str,
        handler: impl Fn(Request, Params) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = R> + 'static,
        R: IntoResponse,
    {
        self.add(Some(method), path, handler)
    }

    /// A route for every method.
    pub fn any<F, R>(
        self,
        path: &'static str,
        handler: impl Fn(Request, Params) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = R> + 'static,
        R: IntoResponse,
    {
        self.add(None, path, handler)
    }

    fn add<F, R>(
        mut self,
        method: Option<Method>,
        path: &'static str,
        handler: impl Fn(Request, Params) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = R> + 'static,
        R: IntoResponse,
    {
        let handler: Handler = Rc::new(move |request, params| {
            let answer = handler(request, params);
            Box::pin(async move { answer.await.into_response() })
        });
        self.routes.push(Route { method, path, handler });
        self
    }

    /// Answers a request by its route.
    pub async fn handle(&self, request: Request) -> Response {
        let path = request.uri().path();
        let mut allowed = Vec::new();
        for route in &self.routes {
            let Some(params) = matches(route.path, path) else {
                continue;
            };
            match &route.method {
                Some(method) if !serves(method, request.method()) => allowed.push(method.as_str()),
                _ => return (route.handler)(request, params).await,
            }
        }
        if allowed.is_empty() {
            return StatusCode::NOT_FOUND.into_response();
        }
        let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
        if let Ok(value) = allowed.join(", ").try_into() {
            response.headers_mut().insert(ALLOW, value);
        }
        response
    }
}

fn serves(route: &Method, method: &Method) -> bool {
    route == method || (route == Method::GET && method == Method::HEAD)
}

fn matches(route: &'static str, path: &str) -> Option<Params> {
    let mut params = Params::default();
    let mut rest = path.strip_prefix('/')?;
    for part in route.strip_prefix('/')?.split('/') {
        if let Some(name) = part.strip_prefix('*') {
            params.0.push((name, rest.to_owned()));
            return Some(params);
        }
        let (here, after) =
            rest.split_once('/').map_or((rest, None), |(here, after)| (here, Some(after)));
        match part.strip_prefix(':') {
            Some(name) if !here.is_empty() => params.0.push((name, here.to_owned())),
            _ if part == here => {}
            _ => return None,
        }
        // `\0` cannot occur in a path, so no further part matches it.
        rest = after.unwrap_or("\0");
    }
    (rest == "\0").then_some(params)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_path_matches_its_route_only() {
        for (route, path) in
            [("/", "/"), ("/a", "/a"), ("/a/:b", "/a/x"), ("/a/*b", "/a/x/y"), ("/a/*b", "/a/")]
        {
            assert!(matches(route, path).is_some(), "{route} {path}");
        }
        for (route, path) in [
            ("/", "/a"),
            ("/a", "/"),
            ("/a", "/a/"),
            ("/a/:b", "/a/"),
            ("/a/:b", "/a/x/y"),
            ("/a/b", "/a"),
        ] {
            assert!(matches(route, path).is_none(), "{route} {path}");
        }
    }

    #[test]
    fn names_stand_for_what_they_matched() {
        let params = matches("/users/:id/files/*path", "/users/7/files/a/b").unwrap_or_default();
        assert_eq!((params.get("id"), params.get("path"), params.get("none")), ("7", "a/b", ""));
    }
}
