//! The pure parts, over answers as tailscaled and a Headscale's tailscaled give them.
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use super::node_info::NodeInfo;
use super::policy::{Policy, PolicyRefusal, TailnetIdentity, tag_user};
use super::ranges::{is_loopback, is_node, is_tailnet};
use super::wire::{TailscaleStatus, WhoIs};
use crate::base::ids::UserId;

macro_rules! shape {
    ($name:literal) => {
        serde_json::from_str(include_str!(concat!("../../tests/fixtures/localapi/", $name, ".json"))).unwrap()
    };
}

fn home() -> NodeInfo {
    NodeInfo::of(&shape!("status"))
}

fn users(ids: &[&str]) -> Vec<UserId> {
    ids.iter().map(|id| UserId::new(id).unwrap()).collect()
}

#[test]
fn the_ranges_are_those_of_tailnets() {
    for (address, tailnet, node) in [
        ("100.64.0.0", true, true),
        ("100.115.91.255", true, true),
        ("100.115.92.0", false, false),
        ("100.115.93.255", false, false),
        ("100.115.94.0", true, true),
        ("100.127.255.255", true, true),
        ("100.100.100.100", true, false),
        ("::ffff:100.100.1.2", true, true),
        ("::ffff:100.100.100.100", true, false),
        ("fd7a:115c:a1e0::", true, true),
        ("fd7a:115c:a1e0::53", true, false),
        ("fd7a:115c:a1e0:ffff:ffff:ffff:ffff:ffff", true, true),
        ("fd7a:115c:a1e1::", false, false),
        ("fd7a:115c:a1df:ffff::", false, false),
        ("100.63.255.255", false, false),
        ("100.128.0.0", false, false),
        ("127.0.0.1", false, false),
        ("0.0.0.0", false, false),
        ("::", false, false),
        ("10.0.0.1", false, false),
        ("::ffff:10.0.0.1", false, false),
        ("fe80::1", false, false),
    ] {
        let address = address.parse().unwrap();
        assert_eq!((is_tailnet(address), is_node(address)), (tailnet, node), "{address}");
    }
    for (address, expected) in [("127.9.9.9", true), ("::1", true), ("::ffff:127.0.0.1", true), ("::2", false)] {
        assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
    }
}

#[test]
fn a_node_is_read_from_its_status() {
    let home = home();
    let addresses: [std::net::IpAddr; 2] = ["100.100.1.2", "fd7a:115c:a1e0::2"].map(|text| text.parse().unwrap());
    assert_eq!(home.addresses, addresses);
    assert_eq!(home.names, ["gamebox", "gamebox.tail1a2b.ts.net"]);
    assert_eq!(
        (home.domain.as_str(), home.owner, home.tun, home.waiting.as_str()),
        ("tail1a2b.ts.net", Some(1001), true, "")
    );

    let starting = NodeInfo::of(&shape!("status-starting"));
    assert_eq!((starting.addresses.len(), starting.owner, starting.names.len()), (0, None, 0));
    assert_eq!(starting.waiting, "its state is NeedsLogin");
    assert!(!NodeInfo::of(&shape!("status-userspace")).tun);
    assert_eq!(NodeInfo::of(&shape!("status-tagged")).owner, None, "a tagged node is nobody's in person");
    let headscale = NodeInfo::of(&shape!("status-headscale"));
    assert_eq!((headscale.domain.as_str(), headscale.names.len()), ("mesh.example.net", 2));

    let nothing = NodeInfo::of(&serde_json::from_str::<TailscaleStatus>("{}").unwrap());
    assert_eq!((nothing.addresses.len(), nothing.tun, nothing.owner), (0, false, None));
}

#[test]
fn an_address_that_no_node_can_have_is_not_believed() {
    let mut status: TailscaleStatus = shape!("status");
    status.tailscale_ips =
        ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1", "100.100.100.100", "100.100.1.2", "::ffff:100.100.1.2"]
            .map(|address| address.parse().unwrap())
            .to_vec();
    assert_eq!(NodeInfo::of(&status).addresses, ["100.100.1.2".parse::<std::net::IpAddr>().unwrap()]);
    status.backend_state = "Stopped".to_owned();
    assert_eq!(NodeInfo::of(&status).addresses.len(), 0, "not while it is not connected");
}

/// One row: what the configuration allows, what tailscaled says, who that is.
#[track_caller]
fn check(
    policy: &Policy,
    home: &NodeInfo,
    found: &WhoIs,
    expected: Result<(&str, &str, bool), PolicyRefusal>,
) -> Option<TailnetIdentity> {
    let member = policy.authorize(home, found);
    let told = member.as_ref().map(|member| (member.user.as_str(), member.login.as_str(), member.administrator));
    assert_eq!(told, expected.as_ref().copied(), "{member:?}");
    member.ok()
}

#[test]
fn a_person_is_their_user_id_and_the_owner_administers() {
    let plain = Policy::default();
    let bob = check(&plain, &home(), &shape!("whois-person"), Ok(("1002", "bob@example.org", false))).unwrap();
    assert_eq!(bob.node, "laptop");
    assert_eq!(bob.why, "user 1002, on a node of this tailnet; no administrator");
    let ann = check(&plain, &home(), &shape!("whois-owner"), Ok(("1001", "ann@example.org", true))).unwrap();
    assert!(ann.why.ends_with("; administrator, as the owner of the server's node"), "{}", ann.why);
    let headscale = NodeInfo::of(&shape!("status-headscale"));
    check(&plain, &headscale, &shape!("whois-headscale"), Ok(("7", "bob", false)));
    // Nobody in person owns a tagged node.
    check(
        &plain,
        &NodeInfo::of(&shape!("status-tagged")),
        &shape!("whois-owner"),
        Ok(("1001", "ann@example.org", false)),
    );
}

#[test]
fn administrators_are_named_by_user_id_or_tag_or_granted_by_the_tailnet() {
    let named = Policy { administrators: users(&["1002"]), ..Policy::default() };
    let bob = check(&named, &home(), &shape!("whois-person"), Ok(("1002", "bob@example.org", true))).unwrap();
    assert!(bob.why.ends_with("; administrator, by the server's configuration"), "{}", bob.why);
    let named = Policy { administrators: users(&["1003", "tag-bots"]), ..Policy::default() };
    check(&named, &home(), &shape!("whois-person"), Ok(("1002", "bob@example.org", false)));
    check(&named, &home(), &shape!("whois-tagged"), Ok(("tag-bots", "tag:bots", true)));

    let granted: WhoIs = shape!("whois-granted");
    check(&Policy::default(), &home(), &granted, Ok(("1002", "bob@example.org", false)));
    for (name, expected) in
        [("example.org/cap/rejoin", true), ("example.org/cap/other", false), ("example.com/cap/rejoin", false)]
    {
        let policy = Policy { capability: Some(name.to_owned()), ..Policy::default() };
        check(&policy, &home(), &granted, Ok(("1002", "bob@example.org", expected)));
    }
    let policy = Policy { capability: Some("c".to_owned()), ..Policy::default() };
    for values in
        ["[]", "null", "[null]", "[\"admin\"]", "[{\"role\":\"Admin\"}]", "[{\"role\":[\"admin\"]}]", "[{\"roles\":1}]"]
    {
        let mut found: WhoIs = shape!("whois-person");
        found.cap_map = serde_json::from_str(&format!("{{\"c\":{values}}}")).unwrap();
        check(&policy, &home(), &found, Ok(("1002", "bob@example.org", false)));
    }
}

#[test]
fn a_tagged_node_is_its_tag_and_needs_leave() {
    let found: WhoIs = shape!("whois-tagged");
    let refused = || Err(PolicyRefusal::Tagged(vec!["tag:ci".to_owned(), "tag:bots".to_owned()]));
    check(&Policy::default(), &home(), &found, refused());
    check(&Policy { tags: users(&["tag-other"]), ..Policy::default() }, &home(), &found, refused());
    check(
        &Policy { tags: users(&["tag-bots"]), ..Policy::default() },
        &home(),
        &found,
        Ok(("tag-bots", "tag:bots", false)),
    );
    let both = Policy { tags: users(&["tag-bots", "tag-ci"]), ..Policy::default() };
    check(&both, &home(), &found, Ok(("tag-bots", "tag:bots", false)));
    // The user that stands for all tagged nodes is nobody, also if the status names it as owner.
    let mut home = home();
    home.owner = Some(2_147_483_647);
    check(&both, &home, &found, Ok(("tag-bots", "tag:bots", false)));
    let named = Policy { administrators: users(&["2147483647"]), ..Policy::default() };
    check(&named, &home, &found, refused());

    for (tag, user) in [("tag:ci", Some("tag-ci")), ("ci", Some("tag-ci")), ("tag:a-1", Some("tag-a-1"))] {
        assert_eq!(tag_user(tag).as_ref().map(UserId::as_str), user, "{tag}");
    }
    for tag in
        ["", "tag:", "tag:1", "tag:a b", "tag:tag:a", "tag:a_b", "tag:\u{e4}", &format!("tag:{}", "x".repeat(61))]
    {
        assert_eq!(tag_user(tag), None, "{tag}");
    }
}

#[test]
fn nodes_of_other_tailnets_need_leave() {
    let allowing = Policy { shared_nodes: true, ..Policy::default() };
    for found in [shape!("whois-shared-in"), shape!("whois-sharee"), shape!("whois-other-tailnet")] {
        let found: WhoIs = found;
        check(&Policy::default(), &home(), &found, Err(PolicyRefusal::Shared));
        let eve = check(&allowing, &home(), &found, Ok(("5005", "eve@example.com", false))).unwrap();
        assert!(eve.why.contains("shared with this tailnet"), "{}", eve.why);
    }
    // A domain that only ends like ours is not ours, and where ours is not known nothing is.
    let mut found: WhoIs = shape!("whois-person");
    found.node.name = "laptop.evil-tail1a2b.ts.net.".to_owned();
    check(&Policy::default(), &home(), &found, Err(PolicyRefusal::Shared));
    check(&Policy::default(), &NodeInfo::default(), &shape!("whois-person"), Err(PolicyRefusal::Shared));
}

#[test]
fn who_has_no_good_key_or_no_name_is_not_let_in() {
    let lax = Policy { shared_nodes: true, ..Policy::default() };
    check(&lax, &home(), &shape!("whois-expired"), Err(PolicyRefusal::Expired));
    check(&lax, &home(), &shape!("whois-null"), Err(PolicyRefusal::Nameless));
    check(&lax, &home(), &WhoIs::default(), Err(PolicyRefusal::Nameless));
    for id in [0, -1, i64::MIN] {
        let mut found: WhoIs = shape!("whois-person");
        found.user_profile.id = id;
        check(&lax, &home(), &found, Err(PolicyRefusal::Nameless));
    }
    // Not even when the owner is as nameless.
    let nameless = NodeInfo { owner: NodeInfo::of(&shape!("status-starting")).owner, ..home() };
    check(&lax, &nameless, &shape!("whois-null"), Err(PolicyRefusal::Nameless));
}

#[test]
fn what_is_of_another_type_is_an_error_and_not_a_default() {
    for text in [
        "7",
        "{\"UserProfile\":{\"ID\":\"1001\"}}",
        "{\"UserProfile\":{\"ID\":1.5}}",
        "{\"Node\":{\"Tags\":\"tag:ci\"}}",
        "{\"Node\":{\"Expired\":0}}",
        "{\"CapMap\":[1]}",
    ] {
        assert!(serde_json::from_str::<WhoIs>(text).is_err(), "{text}");
    }
    for text in ["{\"TUN\":\"no\"}", "{\"TailscaleIPs\":[\"100.64.0.1/32\"]}", "{\"TailscaleIPs\":[null]}"] {
        assert!(serde_json::from_str::<TailscaleStatus>(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_displayed_cannot_do_anything_else() {
    let mut found: WhoIs = shape!("whois-person");
    found.user_profile.login_name = format!("bob\r\n\u{1b}[31m{}", "x".repeat(500));
    let member = Policy::default().authorize(&home(), &found).unwrap();
    assert_eq!(member.login, format!("bob[31m{}", "x".repeat(193)));
}
