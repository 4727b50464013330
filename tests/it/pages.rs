//! What bounds a page, and a stream's beginning, when the documents are large.

use serde_json::json;

use crate::support::Process;

/// Just under the largest state.
const LARGE: usize = (1 << 20) - 100;

#[tokio::test]
async fn a_page_with_states_ends_before_it_grows_large_and_a_stream_over_too_much_is_refused() {
    // Few stay in memory, so that most are read from disk.
    let server = Process::start(&["--hot-documents-max", "2"]);
    let count = 70;
    for index in 0..count {
        let state = json!({ "text": "x".repeat(LARGE) });
        assert_eq!(server.put(&format!("/api/v1/maps/m{index:03}"), &state).await.0, 201);
    }
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let (status, page) = server.get(&format!("/api/v1/maps?include=state&limit=500{cursor}")).await;
        assert_eq!(status, 200);
        let items = page["items"].as_array().unwrap();
        assert!(!items.is_empty() && items.len() <= 9, "{} at once", items.len());
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..count).map(|index| format!("m{index:03}")).collect::<Vec<_>>(), "none left out, none twice");
    assert!(pages >= 8, "{pages}");

    let (status, bare) = server.get("/api/v1/maps?limit=500").await;
    assert_eq!(
        (status, bare["items"].as_array().unwrap().len()),
        (200, count),
        "without states there is no such bound"
    );
    let request = server.request("GET", "/api/v1/stream?collection=maps").header("accept", "text/event-stream");
    let (status, problem) = crate::support::process::json(request.send().await.unwrap()).await;
    assert_eq!((status, &problem["type"]), (413, &json!("/problems/too-large")), "{problem}");
}
