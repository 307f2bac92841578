//! What a handler may return.

use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;

use crate::{Body, Response};

/// Anything that can be sent as a response.
///
/// Text is sent as `text/plain`, bytes as they are, [`Json`] as JSON, a status alone with an empty body, and an
/// error as 500 with an empty body, while its text goes to stderr.
///
/// ```no_run
/// use host::{Request, Result, http::StatusCode};
///
/// #[host::http]
/// async fn shout(request: Request) -> Result<(StatusCode, String)> {
///     Ok((StatusCode::OK, request.into_body().text().await?.to_uppercase()))
/// }
/// ```
pub trait IntoResponse {
    /// The response that is sent.
    fn into_response(self) -> Response;
}

/// A value that is sent as JSON.
///
/// ```no_run
/// #[host::http]
/// fn who() -> host::Json<u32> {
///     host::Json(host::process::identity().pid)
/// }
/// ```
pub struct Json<T>(pub T);

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Response {
        with_status(self, Response::default())
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        typed("text/plain; charset=utf-8", self.into())
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        typed("text/plain; charset=utf-8", self.into())
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Response::new(self.into())
    }
}

impl IntoResponse for Body {
    fn into_response(self) -> Response {
        Response::new(self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        Body::json_from(&self.0).map(|body| typed("application/json", body)).into_response()
    }
}

impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    fn into_response(self) -> Response {
        with_status(self.0, self.1.into_response())
    }
}

impl<T: IntoResponse, E: std::fmt::Display> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(response) => response.into_response(),
            Err(error) => {
                eprintln!("{error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

fn with_status(status: StatusCode, mut response: Response) -> Response {
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
