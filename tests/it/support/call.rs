//! One request and all of its answer, and what is asked of answers again and again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::Process;
use super::session::{AS, shown};

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl Reply {
    /// A header that must be there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"));
        value.to_str().unwrap()
    }

    /// Requires this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Requires the problem `/problems/<slug>` in its whole form.
    #[track_caller]
    pub fn problem(self, status: u16, slug: &str) -> Value {
        assert_eq!((self.status, &self.body["type"]), (status, &format!("/problems/{slug}").into()), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        for member in ["title", "detail"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {}", self.text);
        }
        assert!(self.headers.contains_key("x-request-id") || self.headers.contains_key("request-id"), "{self:?}");
        self.body
    }
}

/// Sends a request and reads all of the answer.
pub async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Reply { status, headers, text, body }
}

impl Process {
    /// A request without a body, with these headers.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        send(with(self.request(method, path), headers).await).await
    }

    /// A request with a body. A patch type is taken from `headers`; otherwise the body is `application/json`.
    pub async fn tell(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl ToString) -> Reply {
        let mut request = with(self.request(method, path), headers).await;
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        send(request.body(body.to_string())).await
    }

    /// PATCH with a JSON Patch.
    pub async fn json_patch(&self, path: &str, patch: &Value) -> Reply {
        self.tell("PATCH", path, &[("content-type", "application/json-patch+json")], patch).await
    }

    /// All that can be seen of a document from outside, and the end of the log: unequal as soon as anything changed.
    pub async fn standing(&self, document: &str) -> (String, String, String, Value) {
        let reply = self.ask("GET", document, &[]).await.expect(200);
        let (_, ready) = self.get("/readyz").await;
        let (tag, position) = (reply.header("etag").to_owned(), reply.header("rejoin-position").to_owned());
        (reply.text, tag, position, ready["seq"].clone())
    }

    /// Sends bytes as they are on a connection of their own and reads until the server closes it. The request must
    /// ask for that (`Connection: close`) or be one after which the server does.
    pub fn raw(&self, bytes: &[u8]) -> Reply {
        let mut socket = TcpStream::connect(self.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        // A refusal may come, and the connection end, before everything was sent.
        let _ = socket.write_all(bytes);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        parse(&answer)
    }

    /// A GET whose target goes out exactly as it stands.
    pub fn raw_get(&self, target: &str) -> Reply {
        let address = self.address();
        self.raw(format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())
    }
}

/// The same request with these headers, of which [`AS`] stands for a session.
pub async fn with(mut request: RequestBuilder, headers: &[(&str, &str)]) -> RequestBuilder {
    for (name, value) in headers {
        request = if *name == AS { shown(request, value).await } else { request.header(*name, *value) };
    }
    request
}

/// Reads an answer as it came over the wire.
pub fn parse(answer: &[u8]) -> Reply {
    let answer = String::from_utf8_lossy(answer).into_owned();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: reqwest::header::HeaderName = name.parse().unwrap();
        headers.append(name, value.trim().parse().unwrap());
    }
    Reply { status, headers, text: text.to_owned(), body: serde_json::from_str(text).unwrap_or(Value::Null) }
}
