//! Acting as several people: a session of each, opened once per server and shown again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// In a list of headers: as whom the request is sent. Not a header; it stands for a session of that user.
pub const AS: &str = "as";

/// Where the data of the server at an address is, so that its sessions are known again after a restart, and are not
/// taken for those of another server that got the same port.
static DATA: LazyLock<Mutex<HashMap<String, PathBuf>>> = LazyLock::new(Mutex::default);

type Tokens = HashMap<(PathBuf, String), Arc<OnceCell<String>>>;

/// The token of each user's session, by the data of the server.
static TOKENS: LazyLock<Mutex<Tokens>> = LazyLock::new(Mutex::default);

/// The name of each server's cookie, by its data.
static COOKIES: LazyLock<Mutex<HashMap<PathBuf, Arc<OnceCell<String>>>>> = LazyLock::new(Mutex::default);

/// Says that a server with this data is at `url` now.
pub fn serves(url: &str, data: &Path) {
    DATA.lock().unwrap().insert(url.to_owned(), data.to_owned());
}

/// `http://host:port` of a URL.
fn base(url: &str) -> &str {
    let host = url.find("://").unwrap() + 3;
    url[host..].find('/').map_or(url, |end| &url[..host + end])
}

/// Opens a session of `user` as the owner of the server does. The answer, which must be as it should.
pub async fn open(url: &str, user: &str) -> Value {
    let request = Client::new().post(format!("{}/api/v1/sessions", base(url))).json(&json!({ "user": user }));
    let (status, opened) = super::process::json(request.send().await.unwrap()).await;
    assert_eq!(status, 201, "{opened}");
    opened
}

/// The token of `user`'s session at the server of this URL.
pub async fn token(url: &str, user: &str) -> String {
    let cell = Arc::clone(TOKENS.lock().unwrap().entry((data(url), user.to_owned())).or_default());
    let opened = async || open(url, user).await["token"].as_str().unwrap().to_owned();
    cell.get_or_init(opened).await.clone()
}

/// What the server of this URL calls its cookie, by its own description.
pub async fn cookie_name(url: &str) -> String {
    let description = Client::new().get(format!("{}/openapi.json", base(url))).send().await.unwrap();
    let (_, description) = super::process::json(description).await;
    description["components"]["securitySchemes"]["cookie"]["name"].as_str().unwrap().to_owned()
}

/// The same, asked once for each server.
pub async fn known_cookie_name(url: &str) -> String {
    let data = data(url);
    let cell = Arc::clone(COOKIES.lock().unwrap().entry(data).or_default());
    cell.get_or_init(|| cookie_name(url)).await.clone()
}

/// Where the data of the server of this URL is.
fn data(url: &str) -> PathBuf {
    let data = DATA.lock().unwrap().get(base(url)).cloned();
    data.unwrap_or_else(|| panic!("nobody said which data the server at {url} has"))
}

/// The same request, sent as `user`.
pub async fn shown(request: RequestBuilder, user: &str) -> RequestBuilder {
    let url = request.try_clone().unwrap().build().unwrap().url().to_string();
    request.bearer_auth(token(&url, user).await)
}
