#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    let file = Some((Path::new("c.toml"), text));
    Config::from_parts(file, std::iter::empty(), &Overrides::new())
}

fn error(text: &str) -> String {
    load(text).expect_err(text).to_string()
}

fn with_env(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let file = Some((Path::new("c.toml"), text));
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Config::from_parts(file, variables, &Overrides::new())
}

#[test]
fn the_file_of_the_project_has_every_key_and_equals_the_defaults() {
    let text = include_str!("../../../config.toml");
    assert_eq!(load(text).unwrap(), Config::default());
    let mut section = "";
    let mut missing: Vec<_> = KEYS.iter().map(keys::Key::path).collect();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').trim_start_matches('[');
        } else if let Some((name, value)) = line.split_once(" = ") {
            missing.retain(|path| *path != format!("{section}.{name}"));
            assert!(section == "seeds" || value.contains(" # "), "not annotated: {line}");
        }
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn what_is_in_force_is_printed_as_a_file_that_says_the_same() {
    let mut config = Config::default();
    assert_eq!(load(&config.to_toml()), Ok(config.clone()));
    config.peer.name = "a \"quoted\" name".into();
    config.peer.http = Some("[::1]:80".parse().unwrap());
    config.liveness.interval = Duration::from_millis(1_500);
    config.retention.bytes_max = 3 << 20;
    config.log.rotate_bytes = 65_537;
    config.seeds.truncate(1);
    config.seeds[0].http = None;
    assert_eq!(load(&config.to_toml()), Ok(config.clone()));
    config.seeds.clear();
    assert_eq!(load(&config.to_toml()), Ok(config));
}

#[test]
fn files_are_read_as_people_write_them() {
    assert_eq!(load(""), Ok(Config::default()));
    let config = load(
        "# a comment\r\n[cluster]\r\nname = 'x' # why\r\n\r\n[liveness]\r\ninterval = \"250ms\"\r\n\
         [log]\r\nlevel = \"DEBUG\"\r\nrotate_bytes = 1_000_000\r\n[retention]\r\n\
         bytes_max = \"1 GiB\"\r\nage_max = '2min'\r\n",
    )
    .unwrap();
    assert_eq!(config.cluster.name, "x");
    assert_eq!(config.liveness.interval, Duration::from_millis(250));
    assert_eq!(config.log.level, crate::logging::LogLevel::Debug);
    assert_eq!(config.log.rotate_bytes, 1_000_000);
    assert_eq!(config.retention.bytes_max, 1 << 30);
    assert_eq!(config.retention.age_max, Duration::from_secs(120));
    let config = load("[[seeds]]\naddr = \"localhost:7101\"\n").unwrap();
    assert_eq!((config.seeds.len(), config.seeds[0].addr.port()), (1, 7_101));
    assert!(config.seeds[0].addr.ip().is_loopback());
}

#[test]
fn unknown_names_are_errors_with_a_suggestion() {
    let text = error("[cluster]\nname = \"x\"\n\n[peer]\nlisten = \"127.0.0.1:1\"\nlisen = 1\n");
    assert!(text.starts_with("c.toml:6: unknown key \"peer.lisen\", did you mean \"listen\"?; "));
    assert!(text.contains("[peer] has listen, advertise, control, "), "{text}");
    let text = error("[livness]\n");
    assert!(text.starts_with("c.toml:1: unknown section \"livness\", did you mean \"liveness\"?"));
    let text = error("interval = \"1s\"\n");
    assert!(text.starts_with("c.toml:1: unknown key \"interval\", did you mean"), "{text}");
    let text = error("[[seeds]]\naddr = \"127.0.0.1:1\"\nhtpp = \"\"\n");
    assert!(text.starts_with("c.toml:3: unknown key \"seeds.htpp\", did you mean \"http\"?"));
    let text = error("[colour]\n");
    assert!(text.contains("\"colour\"; the sections are cluster, seeds, peer"), "{text}");
}

#[test]
fn bad_values_are_errors_that_say_what_is_allowed() {
    let cases = [
        ("[liveness]\ninterval = 1", "liveness.interval = 1 is", "a duration from \"10ms\" to"),
        ("[liveness]\ninterval = \"0s\"", "= \"0s\" is", "\"250ms\", \"1s\" or \"10min\""),
        ("[liveness]\ninterval = \"1 fortnight\"", "fortnight", "a duration from"),
        ("[liveness]\ninterval = \"99999999999999999999s\"", "s\" is", "a duration from"),
        ("[liveness]\nmisses = 0", "misses = 0", "a whole number from 1 to 100"),
        ("[liveness]\nmisses = -1", "misses = -1", "a whole number from 1 to 100"),
        ("[liveness]\nmisses = 3.5", "misses = a fraction", "a whole number"),
        ("[liveness]\nmisses = \"3\"", "misses = \"3\"", "a whole number"),
        ("[liveness]\nmisses = 99999999999999999999", "misses = 999", "a whole number"),
        ("[cluster]\nname = \"\"", "cluster.name = \"\"", "text of 1 to 64 bytes"),
        ("[cluster]\nname = \"a\\u0007b\"", "cluster.name", "text of 1 to 64 bytes"),
        ("[cluster]\nname = true", "cluster.name = true", "text of 1 to 64 bytes"),
        ("[peer]\nlisten = \"7200\"", "peer.listen = \"7200\"", "an address IP:PORT"),
        ("[peer]\nlisten = \"127.0.0.1:70000\"", "peer.listen", "an address IP:PORT"),
        ("[peer]\ndata = 5", "peer.data = 5", "a path, in quotes"),
        ("[log]\nlevel = \"loud\"", "log.level = \"loud\"", "one of \"off\", \"error\", \"warn\""),
        ("[log]\nformat = \"xml\"", "log.format", "one of \"text\", \"json\""),
        ("[log]\nstderr = \"yes\"", "log.stderr = \"yes\"", "true or false"),
        ("[retention]\nbytes_max = \"64 MB!\"", "retention.bytes_max", "65536 or \"64MiB\""),
        ("[retention]\nbytes_max = 1", "bytes_max = 1 is", "from \"2MiB\" to \"64GiB\""),
        ("[log]\nlevel = [\"info\"]", "log.level = a list", "one of"),
    ];
    for (text, named, allowed) in cases {
        let error = error(text);
        assert!(error.starts_with("c.toml:2: "), "{error}");
        assert!(error.contains(named) && error.contains("not allowed: expected"), "{error}");
        assert!(error.contains(allowed), "{error}");
    }
    let long = format!("[cluster]\nname = \"{}\"", "x".repeat(65));
    assert!(error(&long).contains("text of 1 to 64 bytes"));
    assert!(error("peer = 5").contains("expected a section: [peer]"));
    assert!(error("seeds = 5").contains("expected for each seed [[seeds]]"));
    assert!(error("[seeds]\naddr = 1").contains("expected for each seed [[seeds]]"));
    assert!(error("[[seeds]]\nhttp = \"\"").contains("without addr"));
}

#[test]
fn text_that_is_no_toml_is_an_error_with_its_line() {
    let cases =
        ["[cluster]\nname = ", "[cluster]\nname = \"a\nb", "[cluster]\n[", "\n=", "\n\u{0}"];
    for text in cases {
        let error = error(text);
        assert!(error.starts_with("c.toml:2: ") || error.starts_with("c.toml:3: "), "{error:?}");
    }
    let twice = error("[log]\nlevel = \"info\"\nlevel = \"warn\"\n");
    assert!(twice.starts_with("c.toml:3: ") && twice.contains("duplicate key"), "{twice}");
}

#[test]
fn values_that_contradict_each_other_are_errors() {
    let seeds = "[[seeds]]\naddr = \"127.0.0.1:1\"\n[[seeds]]\naddr = \"127.0.0.1:1\"\n";
    let cases = [
        (
            "[views]\ndegree_target = 13",
            2,
            "views.degree_target = 13 is more than views.degree_max (12)",
        ),
        ("[views]\ndegree_max = 7", 2, "views.degree_max = 7 is less than views.degree_target (8)"),
        ("[views]\nlinks_max = 11", 2, "views.links_max = 11 is less than views.degree_max (12)"),
        ("[limits]\nlinks = 10", 2, "limits.links = 10 is less than views.links_max (48)"),
        ("[seed]\nlease = \"2s\"", 2, "seed.lease = 2s must be longer than liveness.interval x"),
        ("[repair]\ngap_after = \"600ms\"", 2, "must be longer than repair.delay"),
        (seeds, 4, "seeds[1].addr = \"127.0.0.1:1\" is the address of seeds[0] already"),
        ("[[seeds]]\naddr = \"127.0.0.1:0\"", 2, "cannot be dialled"),
        ("[[seeds]]\naddr = \"0.0.0.0:7\"", 2, "cannot be dialled"),
        ("[peer]\nlisten = \"127.0.0.1:7102\"", 2, "is the address of a seed"),
        ("[peer]\ncontrol = \"127.0.0.1:7200\"", 2, "is the address of peer.listen already"),
        ("[peer]\nhttp = \"127.0.0.1:5555\"", 2, "is the address of peer.control already"),
        ("[peer]\nadvertise = \"0.0.0.0:5\"", 2, "cannot be dialled"),
    ];
    for (text, line, problem) in cases {
        let error = error(text);
        assert!(error.starts_with(&format!("c.toml:{line}: ")), "{error}");
        assert!(error.contains(problem), "{error}");
    }
    load("[peer]\nlisten = \"127.0.0.1:0\"\ncontrol = \"127.0.0.1:0\"").unwrap();
}

#[test]
fn the_environment_goes_over_the_file_and_flags_over_both() {
    let text = "[log]\nlevel = \"error\"\n[peer]\nname = \"file\"\n";
    let variables = [
        ("TIDINGS_LOG_LEVEL", "debug"),
        ("TIDINGS_PEER_NAME", "env"),
        ("TIDINGS_LIVENESS_MISSES", "5"),
        ("TIDINGS_LOG_STDERR", "false"),
        ("TIDINGS_CONTROL", "127.0.0.1:1"),
        ("TIDINGS_PEER_PATH", "somebody else's"),
        ("TIDINGS_SEEDS", "127.0.0.1:1=127.0.0.1:2, [::1]:3"),
        ("PATH", "/bin"),
    ];
    let config = with_env(text, &variables).unwrap();
    assert_eq!(config.log.level, crate::logging::LogLevel::Debug);
    assert_eq!((config.liveness.misses, config.log.stderr), (5, false));
    assert_eq!(config.peer.name, "env");
    assert_eq!(config.seeds.len(), 2);
    assert_eq!(config.seeds[0].http, Some("127.0.0.1:2".parse().unwrap()));

    let mut flags = Overrides::new();
    flags.set("--name", "peer.name", Some("flag")).set("--data", "peer.data", None::<&str>);
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::from_parts(None, variables.into_iter(), &flags).unwrap();
    assert_eq!(config.peer.name, "flag");

    let error = with_env("", &[("TIDINGS_LIVENESS_MISSES", "0")]).unwrap_err().to_string();
    assert!(error.starts_with("environment variable TIDINGS_LIVENESS_MISSES: "), "{error}");
    let error = with_env("", &[("TIDINGS_LOG_LEVLE", "x")]).unwrap_err().to_string();
    assert!(error.contains("did you mean \"TIDINGS_LOG_LEVEL\"?"), "{error}");
    let error = with_env("", &[("TIDINGS_SEEDS", "nonsense")]).unwrap_err().to_string();
    assert!(error.contains("environment variable TIDINGS_SEEDS: seeds[0].addr"), "{error}");
    flags.set("--listen", "peer.listen", Some("x"));
    let error = Config::from_parts(None, std::iter::empty(), &flags).unwrap_err().to_string();
    assert!(error.starts_with("flag --listen: peer.listen = \"x\" is not allowed"), "{error}");
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let error = Config::load(Some(Path::new("/nowhere/c.toml")), &Overrides::new()).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/c.toml: No such file"), "{error}");
}

#[test]
fn machines_get_what_was_configured() {
    let text = "[liveness]\nmisses = 7\n[seed]\nsample = 9\n[limits]\ntopics = 11\n";
    let config = load(text).unwrap();
    let peer = config.peer_config(nobody());
    assert_eq!((peer.liveness.misses, peer.topics_max, peer.seeds.len()), (7, 11, 3));
    let mut own = nobody();
    own.address = "127.0.0.1:7102".parse().unwrap();
    let seed = config.seed_config(own.clone());
    assert_eq!((seed.liveness.misses, seed.sample, seed.seeds.len()), (7, 9, 3));
    own.address.set_port(9_999);
    assert_eq!(config.seed_config(own).seeds.len(), 4);
    assert_eq!(config.seed_data(7_102), Path::new("data/seed-7102"));
}
