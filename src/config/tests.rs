#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use super::*;
use crate::base::ids::UserId;
use crate::tailnet::listen_address::ListenAddress;

/// Parses with this environment and this `rejoin.toml` only.
fn parse_with(args: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Result<ProgramCommand, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rejoin.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
    let args = std::iter::once("rejoin").chain(args.iter().copied()).map(OsString::from);
    let names = || variables.iter().map(|(name, _)| name.into()).collect();
    parse_in(args, &Inputs { variable: &find, names: &names, file: &path }, Config::default(), ProgramName::default())
}

fn config(args: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Config {
    match parse_with(args, variables, file) {
        Ok(ProgramCommand::Serve(config)) => *config,
        other => panic!("{other:?}"),
    }
}

/// The refusal must be one line that holds each of `parts`.
fn assert_refused(args: &[&str], variables: &[(&str, &str)], file: Option<&str>, parts: &[&str]) {
    let error = parse_with(args, variables, file).unwrap_err().to_string();
    assert!(!error.contains('\n') && parts.iter().all(|part| error.contains(part)), "{args:?} {file:?}: {error}");
}

#[test]
fn nothing_said_means_the_defaults() {
    assert_eq!(config(&[], &[], None), Config::default());
    assert_eq!(config(&["serve"], &[], None), Config::default());
    Config::default().validate().unwrap();
}

#[test]
fn a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default() {
    let file = Some("history-events = 1");
    let variables = [("REJOIN_HISTORY_EVENTS", "2")];
    assert_eq!(config(&["--history-events", "3"], &variables, file).history_events, 3);
    assert_eq!(config(&["serve", "--history-events", "3"], &variables, file).history_events, 3);
    assert_eq!(config(&[], &variables, file).history_events, 2);
    assert_eq!(config(&[], &[], file).history_events, 1);
}

/// For each option: a value other than the default, in each of the three ways.
#[test]
fn every_option_can_be_set_in_every_way() {
    let samples = [
        ("listen", "[::1]:1"),
        ("data-dir", "/a b\"c\\d\u{7f}"),
        ("public", "/srv/pages"),
        ("allowed-host", "table.example"),
        ("allowed-origin", "http://localhost:5173"),
        ("tailscaled-socket", "/tmp/tailscaled.sock"),
        ("allow-listen-beyond-tailnet", "true"),
        ("loopback-owner", "false"),
        ("administrator", "1234"),
        ("administrator-capability", "example.org/cap/rejoin"),
        ("allowed-tag", "tag:bots"),
        ("allow-shared-nodes", "true"),
        ("tailnet-poll-seconds", "3"),
        ("tailnet-recheck-seconds", "4"),
        ("history-events", "77"),
        ("history-days", "7"),
        ("body-bytes-max", "3000000"),
        ("state-bytes-max", "1000"),
        ("depth-max", "100"),
        ("hot-documents-max", "5"),
        ("hot-bytes-max", "1048577"),
        ("hot-idle-seconds", "5"),
        ("volatile-documents-max", "5"),
        ("backlog-events-max", "5"),
        ("backlog-bytes-max", "3000001"),
        ("ring-events-max", "2048"),
        ("connections-max", "5"),
        ("connections-per-user-max", "5"),
        ("streams-per-user-max", "5"),
        ("heartbeat-seconds", "60"),
        ("presence-debounce-ms", "250"),
        ("database-pages-max", "500"),
        ("wal-bytes-max", "2000000"),
        ("strict", "true"),
        ("snapshot-ratio", "0.25"),
        ("snapshot-age-seconds", "60"),
        ("log", "info,rejoin=debug"),
        ("log-format", "json"),
        ("reconnect-token-minutes", "5"),
        ("games-compacted-days", "0"),
        ("games-completed-days", "3"),
        ("games-abandoned-days", "4"),
        ("flags.games-persistence", "false"),
        ("rate-limit-capacity", "5"),
        ("rate-limit-refill", "5"),
        ("rate-limit-window-seconds", "5"),
        ("rate-limit-administrators", "true"),
        ("reconciliation-seconds", "7"),
        ("reconciliation-scrub-kib", "0"),
        ("reconciliation-days", "5"),
        ("reconciliation-rows", "600"),
        ("session-ttl-seconds", "60"),
        ("session-idle-seconds", "60"),
        ("env", "production"),
        ("usage-default-parties-created", "3"),
        ("usage-default-encounters-created", "0"),
        ("usage-default-creatures-created", "9007199254740991"),
        ("conflicts", "games:/pot=counter"),
        ("projects-check-interval", "5"),
        ("messages-per-second", "5"),
        ("backup-every-hours", "12"),
        ("backups-kept", "3"),
        ("backup-dir", "elsewhere"),
    ];
    let specs = Config::default().specs();
    assert_eq!(samples.map(|(name, _)| name).to_vec(), specs.iter().map(|spec| spec.name).collect::<Vec<_>>());
    for (index, (spec, (name, value))) in specs.iter().zip(samples).enumerate() {
        let by_flag = config(&[&format!("--{name}"), value], &[], None);
        assert_ne!(by_flag, Config::default(), "{name}");
        assert_eq!(config(&[], &[(&spec.variable(), value)], None), by_flag, "{name}");
        let file = format!("{name} = {}", toml_value(spec.shape, by_flag.texts().get(index).unwrap()).unwrap());
        assert_eq!(config(&[], &[], Some(&file)), by_flag, "{file}");
    }
}

#[test]
fn flags_have_a_table_and_variables_of_their_own() {
    assert!(config(&[], &[], Some("[flags]\n")).flags()["games-persistence"]);
    assert!(
        !config(&[], &[], Some("depth-max = 9\n[flags]\ngames-persistence = false\n")).flags()["games-persistence"]
    );
    assert!(!config(&[], &[("REJOIN_FF_GAMES_PERSISTENCE", "false")], None).flags()["games-persistence"]);
    assert_refused(
        &[],
        &[("REJOIN_FF_GAMES_PERSISTENCE", "off")],
        None,
        &["REJOIN_FF_GAMES_PERSISTENCE: 'off'", "true"],
    );
    assert_refused(
        &[],
        &[],
        Some("[flags]\ngames-persistence = \"false\"\n"),
        &["flags.games-persistence", "true or false"],
    );
    assert_refused(&[], &[], Some("[flags]\ngames = false\n"), &["there is no option 'flags.games'"]);
    assert_refused(&[], &[], Some("[other]\nflags = 1\n"), &["there is no section 'other'"]);
}

#[test]
fn flags_for_clients_are_taken_as_they_are_configured_and_slips_of_the_pen_are_refused() {
    let file = "[flags]\nnew-lobby = true\nsounds = false\ngames-persistence = false\n";
    let flags = |variables: &[(&str, &str)]| config(&[], variables, Some(file)).client_flags;
    let of = |flags: &[(&str, bool)]| flags.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    assert_eq!(flags(&[]), of(&[("new-lobby", true), ("sounds", false)]));
    let variables =
        [("REJOIN_FF_NEW_LOBBY", "false"), ("REJOIN_FF_DARK", "true"), ("REJOIN_FF_GAMES_PERSISTENCE", "true")];
    assert_eq!(flags(&variables), of(&[("dark", true), ("new-lobby", false), ("sounds", false)]));
    assert!(config(&[], &variables, Some(file)).flags()["games-persistence"]);

    assert_refused(&[], &[("REJOIN_FF_DARK", "on")], None, &["REJOIN_FF_DARK: 'on'", "true"]);
    assert_refused(
        &[],
        &[("REJOIN_FF_GAMES_PERSISTANCE", "false")],
        None,
        &["no such flag", "flags.games-persistence"],
    );
    assert_refused(&[], &[("REJOIN_FF_dark", "true")], None, &["REJOIN_FF_dark", "capital"]);
    assert_refused(&[], &[("REJOIN_FF_", "true")], None, &["REJOIN_FF_:", "words"]);
    assert_refused(&[], &[], Some("[flags]\ngame-persistence = false\n"), &["flags.game-persistence", "close to"]);
    assert_refused(&[], &[], Some("[flags]\nNew = false\n"), &["flags.New", "words"]);
    assert_refused(&[], &[], Some("[flags]\ndark = 1\n"), &["flags.dark", "true or false"]);
    let many: String = (0..101).map(|n| format!("f{n} = true\n")).collect();
    assert_refused(&[], &[], Some(&format!("[flags]\n{many}")), &["101", "at most 100"]);

    let Ok(ProgramCommand::CheckConfig(text)) = parse_with(&["--check-config"], &variables, Some(file)) else {
        panic!("no text")
    };
    assert!(text.contains("flags.new-lobby = false  # REJOIN_FF_NEW_LOBBY\n"), "{text}");
    let again = config(&[], &[], Some(&text));
    assert_eq!(again.client_flags, flags(&variables), "what is printed can be fed back");
}

#[test]
fn values_out_of_range_are_named() {
    for (name, value) in [
        ("history-events", "0"),
        ("history-days", "0"),
        ("history-days", "36501"),
        ("body-bytes-max", "1023"),
        ("body-bytes-max", "1073741825"),
        ("state-bytes-max", "511"),
        ("depth-max", "0"),
        ("depth-max", "101"),
        ("hot-documents-max", "0"),
        ("hot-idle-seconds", "0"),
        ("volatile-documents-max", "0"),
        ("backlog-events-max", "0"),
        ("ring-events-max", "2047"),
        ("connections-max", "0"),
        ("connections-max", "1000001"),
        ("connections-per-user-max", "0"),
        ("streams-per-user-max", "0"),
        ("tailnet-poll-seconds", "0"),
        ("tailnet-poll-seconds", "301"),
        ("tailnet-recheck-seconds", "0"),
        ("tailnet-recheck-seconds", "3601"),
        ("heartbeat-seconds", "0"),
        ("heartbeat-seconds", "61"),
        ("reconnect-token-minutes", "0"),
        ("reconnect-token-minutes", "10081"),
        ("games-compacted-days", "36501"),
        ("usage-default-parties-created", "9007199254740992"),
        ("games-completed-days", "0"),
        ("games-abandoned-days", "36501"),
        ("reconciliation-seconds", "3601"),
        ("reconciliation-scrub-kib", "1048577"),
        ("reconciliation-days", "36501"),
        ("reconciliation-rows", "0"),
        ("wal-bytes-max", "1048575"),
        ("database-pages-max", "255"),
        ("database-pages-max", "4294967295"),
    ] {
        assert_refused(&[&format!("--{name}"), value], &[], None, &[name, value]);
    }
}

#[test]
fn contradictions_are_named() {
    assert_refused(
        &["--state-bytes-max", "1048577"],
        &[],
        None,
        &["state-bytes-max: 1048577", "body-bytes-max (2097152)"],
    );
    assert_refused(
        &["--hot-bytes-max", "1048575"],
        &[],
        None,
        &["hot-bytes-max: 1048575", "state-bytes-max (1048576)"],
    );
    assert_refused(&["--backlog-bytes-max", "2097151"], &[], None, &["backlog-bytes-max: 2097151", "body-bytes-max"]);
    let embedded = Config { heartbeat: Duration::from_millis(1500), ..Config::default() };
    assert!(embedded.validate().unwrap_err().to_string().starts_with("heartbeat-seconds: 1.5s"));
}

#[test]
fn numbers_must_be_numbers_that_fit() {
    for (value, why) in [
        ("", "not a whole number"),
        ("-", "not a whole number"),
        ("1.5", "not a whole number"),
        ("1e3", "not a whole number"),
        ("many", "not a whole number"),
        ("-1", "too small; it must be at least 1"),
        ("18446744073709551616", "too large; it must be at least 1"),
    ] {
        assert_refused(&["--history-events", value], &[], None, &["--history-events: ", value, why]);
    }
    assert_refused(&[], &[("REJOIN_HISTORY_DAYS", "x")], None, &["REJOIN_HISTORY_DAYS: 'x'"]);
}

#[test]
fn loopback_and_the_tailnet_are_listened_on_and_nothing_else_without_leave() {
    let listen = |text: &str| config(&["--listen", text], &[], None).listen;
    assert_eq!(listen("localhost:0"), "127.0.0.1:0".parse().unwrap());
    for text in ["127.1.2.3:5", "[::1]:5", "100.64.1.2:80", "[fd7a:115c:a1e0::2]:80", "tailnet:5"] {
        assert_eq!(listen(text).addresses(), [text.parse().unwrap()], "{text}");
    }
    assert_eq!(listen("tailnet").addresses(), [ListenAddress::Tailnet(PORT)]);
    assert_eq!(listen("[::ffff:100.64.1.2]:80"), "100.64.1.2:80".parse().unwrap());
    let two = config(&["--listen", "tailnet", "--listen", "127.0.0.1:7766"], &[], None).listen;
    assert_eq!(two.addresses().len(), 2);
    assert_eq!(config(&[], &[("REJOIN_LISTEN", "tailnet, 127.0.0.1:7766")], None).listen, two);
    assert_eq!(config(&[], &[], Some("listen = [\"tailnet\", \"127.0.0.1:7766\"]")).listen, two);
    assert_eq!(config(&[], &[], Some("listen = \"tailnet, 127.0.0.1:7766\"")).listen, two);
    for address in [
        "192.168.1.2:80",
        "8.8.8.8:80",
        "100.63.255.255:80",
        "100.115.92.1:80",
        "100.100.100.100:80",
        "[::ffff:10.0.0.1]:80",
        "[2001:db8::1]:80",
        "[fe80::1]:80",
        "[fd7a:115c:a1e1::1]:80",
        "0.0.0.0:7766",
        "[::]:7766",
    ] {
        assert_refused(&["--listen", address], &[], None, &["listen: ", "allow-listen-beyond-tailnet is not set"]);
        assert_refused(&["--listen", "127.0.0.1:1", "--listen", address], &[], None, &["allow-listen-beyond-tailnet"]);
        for allowed in [&["--allow-listen-beyond-tailnet"][..], &["--allow-listen-beyond-tailnet", "true"]] {
            let places = config(&[&["--listen", address], allowed].concat(), &[], None).listen;
            assert_eq!(places, address.parse().unwrap());
        }
        assert_refused(&["--listen", address, "--allow-listen-beyond-tailnet", "false"], &[], None, &["listen: "]);
    }
    for text in ["127.0.0.1", "localhost", "7766", "example.org:80", "localhost:x", "127.0.0.1:70000", "tailnet:x", ""]
    {
        assert_refused(&["--listen", text], &[], None, &["--listen: ", text, "is not an address and port"]);
    }
    assert_refused(&["--listen", "tailnet", "--listen", "tailnet:7766"], &[], None, &["tailnet:7766 is given twice"]);
    assert_eq!(config(&[], &[("REJOIN_LISTEN", "")], None), Config::default());
    assert_refused(&[], &[("REJOIN_LISTEN", ",")], None, &["names nothing to listen on"]);
}

#[test]
fn administrators_are_named_by_what_cannot_be_given_to_somebody_else() {
    let named =
        config(&["--administrator", "1234", "--administrator", "tag:ops", "--administrator", "1234"], &[], None);
    assert_eq!(named.administrators.iter().map(UserId::as_str).collect::<Vec<_>>(), ["1234", "tag-ops"]);
    assert_refused(&["--administrator", "ann@example.org"], &[], None, &["is a login", "/api/v1/me"]);
    for text in ["ann", "0", "-1", "007", "+7", "1.5", "tag-ops", "tag:", "tag:1", "9999999999999999999999"] {
        assert_refused(&[&format!("--administrator={text}")], &[], None, &["--administrator: ", text]);
    }
    for text in ["1234", "bots", "tag:", "tag:a b", "TAG:bots"] {
        assert_refused(&[&format!("--allowed-tag={text}")], &[], None, &["--allowed-tag: ", text]);
    }
    for text in ["rejoin", "/cap/x", "a b/c", "example.org/", "https://example.org/cap"] {
        assert_refused(&["--administrator-capability", text], &[], None, &["administrator-capability: ", text]);
    }
    assert_refused(&["--tailscaled-socket", ""], &[], None, &["tailscaled-socket: must not be empty"]);
    for text in ["127.0.0.1:41112", "http://127.0.0.1:41112"] {
        assert_refused(&["--tailscaled-socket", text], &[], None, &["tailscaled-socket: ", text, "not supported yet"]);
    }
}

#[test]
fn host_names_and_log_filters_are_checked() {
    let names = config(&["--allowed-host", "Table.Example", "--allowed-host", "b"], &[], None).allowed_hosts;
    assert_eq!(names, ["table.example", "b"]);
    assert_eq!(config(&[], &[("REJOIN_ALLOWED_HOST", "a, b,")], None).allowed_hosts, ["a", "b"]);
    for name in ["a:80", "http://a", "*", "", "a..b", "-a", "a-", "a b", &"x".repeat(64)] {
        assert_refused(&[&format!("--allowed-host={name}")], &[], None, &["allowed-host: "]);
    }
    assert_refused(&["--log", "rejoin=loud"], &[], None, &["log: 'rejoin=loud'"]);
    assert_refused(&["--log-format", "xml"], &[], None, &["--log-format: 'xml' is none of"]);
    assert_refused(&["--data-dir", ""], &[], None, &["data-dir"]);
}

#[test]
fn the_file_must_hold_what_is_known_in_its_shape() {
    assert_refused(&[], &[], Some("colour = 1"), &["rejoin.toml: there is no option 'colour'"]);
    assert_refused(&[], &[], Some("history_events = 1"), &["'history_events'", "it is called 'history-events'"]);
    assert_refused(&[], &[], Some("[limits]\ndepth-max = 1"), &["'limits'"]);
    assert_refused(&[], &[], Some("\nlisten = "), &["rejoin.toml: line 2: "]);
    assert_refused(&[], &[], Some("depth-max = 1\ndepth-max = 2"), &["rejoin.toml: line 2: "]);
    assert_refused(&[], &[], Some("depth-max = '1'"), &["rejoin.toml: depth-max: must be a whole number"]);
    assert_refused(
        &[],
        &[],
        Some("depth-max = -1"),
        &["rejoin.toml: depth-max: '-1' is too small; it must be 1 to 100"],
    );
    assert_refused(&[], &[], Some("listen = 7766"), &["rejoin.toml: listen: must be a list of strings"]);
    assert_refused(&[], &[], Some("allowed-host = [1]"), &["rejoin.toml: allowed-host: must hold strings"]);
}

#[test]
fn all_faults_of_the_file_are_named_each_in_a_line() {
    let file = "colour = 1\nhistory_events = 1\ndepth-max = -1\nlisten = 7766\nallowed-host = [1]\n\
                backups-kept = 0\nhistory-events = 5\n[flags]\nAbc = true\nnew-lobby = 1\n[limits]\nx = 1\n";
    let error = parse_with(&[], &[], Some(file)).unwrap_err().to_string();
    let told: Vec<&str> = error.lines().collect();
    for fault in [
        "there is no option 'colour'",
        "'history_events'",
        "listen: must be a list of strings",
        "allowed-host: must hold strings",
        "'flags.Abc'",
        "flags.new-lobby: must be true or false",
        "'limits'",
        "depth-max: '-1' is too small",
        "backups-kept: 0 is too small",
    ] {
        let naming = told.iter().filter(|line| line.contains(fault) && line.contains("rejoin.toml: ")).count();
        assert_eq!(naming, 1, "{fault}: {error}");
    }
    assert_eq!(told.len(), 9, "{error}");
}

#[test]
fn another_file_is_read_when_it_is_named_and_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.toml").display().to_string();
    assert_refused(&["--config", &path], &[], None, &[&path, "cannot be read"]);
    assert_refused(&[], &[("REJOIN_CONFIG", &path)], None, &[&path, "cannot be read"]);
    std::fs::write(&path, "depth-max = 9").unwrap();
    assert_eq!(config(&["--config", &path], &[], Some("depth-max = 8")).depth_max, 9);
    assert_eq!(config(&[], &[("REJOIN_CONFIG", &path)], Some("depth-max = 8")).depth_max, 9);
}

#[test]
fn check_config_says_where_each_value_comes_from_and_can_be_fed_back() {
    let args = ["--data-dir", "a \"b\"\\\u{7f}\n#", "--allowed-host", "a", "--allowed-host", "b.c"];
    let variables = [("REJOIN_DATABASE_PAGES_MAX", "500")];
    let file = Some("history-events = 77");
    let all: Vec<&str> = args.into_iter().chain(["--check-config"]).collect();
    let Ok(ProgramCommand::CheckConfig(text)) = parse_with(&all, &variables, file) else { panic!("not printed") };
    for line in ["allowed-host = [\"a\", \"b.c\"]  # --allowed-host", "depth-max = 64  # default"] {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }
    assert!(text.contains("database-pages-max = 500  # REJOIN_DATABASE_PAGES_MAX\n"), "{text}");
    assert!(text.contains("history-events = 77  # ") && text.contains("rejoin.toml: history-events\n"), "{text}");
    assert_eq!(config(&[], &[], Some(&text)), config(&args, &variables, file));

    let Ok(ProgramCommand::CheckConfig(text)) = parse_with(&["--check-config"], &[], None) else {
        panic!("not printed")
    };
    assert!(text.contains("# database-pages-max is not set\n"), "{text}");
    assert_eq!(config(&[], &[], Some(&text)), Config::default());
    assert_refused(&["--check-config", "--depth-max", "0"], &[], None, &["depth-max"]);
}

#[test]
fn watch_takes_a_document_a_server_and_a_session() {
    let Ok(ProgramCommand::Watch(options)) = parse_with(&["watch", "games/g1"], &[], None) else {
        panic!("not a watch")
    };
    assert_eq!(options.server.to_string(), "127.0.0.1:7766");
    assert_eq!((options.watched, options.session, options.json), ("games/g1".parse().unwrap(), None, false));
    let args = ["watch", "games/g1", "--json", "--session", "kept-by-nobody", "--server", "http://localhost:1"];
    let Ok(ProgramCommand::Watch(options)) = parse_with(&args, &[], None) else { panic!("not a watch") };
    assert!(!format!("{options:?}").contains("kept-by-nobody"), "a token is shown to no log");
    assert_eq!((options.session.unwrap().expose(), options.json), ("kept-by-nobody", true));
    assert_refused(&["watch"], &[], None, &["COLLECTION[/ID]"]);
    assert_refused(&["watch", "Games"], &[], None, &["a collection is"]);
    assert_refused(&["watch", "games/"], &[], None, &["an id is"]);
    let Ok(ProgramCommand::Watch(options)) = parse_with(&["watch", "games"], &[], None) else { panic!("not a watch") };
    assert_eq!(options.watched, "games".parse().unwrap());
    assert_refused(&["watch", "games/g1", "--session", "a b"], &[], None, &["--session: "]);
    assert_refused(&["watch", "games/g1", "--server", "https://a"], &[], None, &["--server: ", "http://"]);
}

#[test]
fn help_and_version_are_text_and_a_wrong_flag_is_an_error() {
    for args in [["--help"], ["-h"], ["--version"], ["help"]] {
        assert!(matches!(parse_with(&args, &[], None), Ok(ProgramCommand::Help(_))), "{args:?}");
    }
    let Ok(ProgramCommand::Help(text)) = parse_with(&["--help"], &[], None) else { panic!("no help") };
    assert!(text.contains("[default: 10000]") && text.contains("REJOIN_HISTORY_EVENTS"), "{text}");
    assert_refused(&["--colour"], &[], None, &["unexpected argument '--colour'"]);
    assert_refused(&["fly"], &[], None, &["fly"]);
    assert_refused(&["--depth-max", "1", "--depth-max", "2"], &[], None, &["--depth-max", "multiple times"]);
}

#[test]
fn an_embedder_sets_options_of_features_by_name() {
    let mut config = Config::default();
    config.set("session-ttl-seconds", "60").unwrap();
    config.set("allowed-host", "a, b").unwrap();
    assert_eq!(config.features.get::<crate::features::sessions::options::SessionOptions>().ttl.as_secs(), 60);
    assert_eq!(config.allowed_hosts, ["a", "b"]);
    let unknown = config.set("session_ttl_seconds", "60").unwrap_err().to_string();
    assert!(unknown.contains("it is called 'session-ttl-seconds'"), "{unknown}");
    assert!(
        config.set("session-ttl-seconds", "long").unwrap_err().to_string().starts_with("session-ttl-seconds: 'long'")
    );
    config.set("session-ttl-seconds", "0").unwrap();
    assert!(config.validate().unwrap_err().to_string().starts_with("session-ttl-seconds: 0 is too small"));
}

/// The help of an option is one sentence; a default that is out of its own bounds would refuse to start.
#[test]
fn every_option_has_help_a_value_name_and_a_name_of_its_own() {
    let specs = Config::default().specs();
    let names: std::collections::BTreeSet<_> = specs.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), specs.len());
    for spec in &specs {
        assert!(!spec.help.is_empty() && !spec.help.ends_with('.') && !spec.help.contains("  "), "{spec:?}");
        assert!(!spec.value_name.is_empty(), "{spec:?}");
    }
}
