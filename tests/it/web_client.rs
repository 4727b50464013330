//! The JavaScript client as the server hands it out.

use std::fs;
use std::path::Path;

use crate::support::Process;

#[tokio::test]
async fn each_module_is_served_as_it_is_in_the_source_and_not_twice_to_whoever_has_it() {
    let server = Process::start(&[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/client");
    let mut served = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".js") {
            continue;
        }
        let address = format!("/client/{name}");
        let response = server.request("GET", &address).send().await.unwrap();
        assert_eq!(response.status(), 200, "{name}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/javascript; charset=utf-8");
        assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-cache".into(), "nosniff".into()));
        let tag = header("etag");
        assert_eq!(response.text().await.unwrap(), fs::read_to_string(&path).unwrap());
        let again = server.request("GET", &address).header("if-none-match", &tag).send().await.unwrap();
        assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, tag.as_str()));
        served += 1;
    }
    assert!(served > 10, "{served}");
    assert_eq!(server.get("/client/nothing.js").await.0, 404);
    assert_eq!(server.get("/client/package.json").await.0, 404);
}
