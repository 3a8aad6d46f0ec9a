//! From a file, the environment and flags to a configuration.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, Place, suggest};
use super::keys::{self, KEYS, SECTIONS};
use super::value::{Kind as _, MaybeAddress, Raw};
use super::{Config, SeedEntry};

/// A configuration under construction, and where each value of it was set.
pub(super) struct Loader {
    pub(super) config: Config,
    places: BTreeMap<String, Place>,
}

impl Loader {
    pub(super) fn new() -> Self {
        Self { config: Config::default(), places: BTreeMap::new() }
    }

    /// Where a key (`section.name`, or `seeds[i].name`) was set.
    pub(super) fn place(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or(Place::Default)
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Takes over everything in the text of a file.
    pub(super) fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let root = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let text_of = error.message().trim_ascii().replace('\n', ", ");
            ConfigError::Syntax { place: Place::in_file(path, text, offset), text: text_of }
        })?;
        let at = |offset: usize| Place::in_file(path, text, offset);
        for (section, content) in in_order(root.get_ref()) {
            let name = section.get_ref().as_ref();
            let place = at(section.span().start);
            match (name, content.get_ref()) {
                ("seeds", DeValue::Array(seeds)) => self.seeds(seeds, &at)?,
                ("seeds", other) => {
                    let value = raw(other).to_string();
                    return Err(seeds_expected(place, value));
                }
                (_, content) if !SECTIONS.contains(&name) => {
                    return Err(unknown_section(place, name, content));
                }
                (_, DeValue::Table(table)) => self.section(name, table, &at)?,
                (_, other) => {
                    return Err(ConfigError::Value {
                        place,
                        key: name.to_owned(),
                        value: raw(other).to_string(),
                        allowed: format!("a section: [{name}] and its keys below it"),
                    });
                }
            }
        }
        Ok(())
    }

    /// Takes over the variables that name a key.
    pub(super) fn environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let mut ours: Vec<_> = variables.filter(|(name, _)| name.starts_with("TIDINGS_")).collect();
        ours.sort_unstable();
        for (name, value) in ours {
            let place = Place::Environment(name.clone());
            if name == SEEDS_VARIABLE {
                self.typed("seeds", &value, place)?;
            } else if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
                self.typed(&key.path(), &value, place)?;
            } else {
                check_spelling(&name, place)?;
            }
        }
        Ok(())
    }

    /// Sets one key (`section.name`, or `seeds`) to what was typed.
    pub(super) fn typed(
        &mut self,
        path: &str,
        value: &str,
        place: Place,
    ) -> Result<(), ConfigError> {
        if path == "seeds" {
            let raws: Vec<_> =
                value.split(',').filter(|text| !text.trim_ascii().is_empty()).collect();
            self.config.seeds.clear();
            for text in raws {
                let (addr, http) = text.split_once('=').unwrap_or((text, ""));
                let addr = Raw::Typed(addr.trim_ascii());
                let http = Raw::Typed(http.trim_ascii());
                self.seed(&addr, Some(&http), place.clone())?;
            }
            return Ok(());
        }
        let (section, name) = path.split_once('.').unwrap_or((path, ""));
        self.set(section, name, &Raw::Typed(value), place)
    }

    fn section(
        &mut self,
        section: &str,
        table: &DeTable<'_>,
        at: &impl Fn(usize) -> Place,
    ) -> Result<(), ConfigError> {
        for (name, value) in in_order(table) {
            let place = at(name.span().start);
            self.set(section, name.get_ref(), &raw(value.get_ref()), place)?;
        }
        Ok(())
    }

    fn set(
        &mut self,
        section: &str,
        name: &str,
        value: &Raw<'_>,
        place: Place,
    ) -> Result<(), ConfigError> {
        let Some(key) = keys::find(section, name) else {
            let names = KEYS.iter().filter(|key| key.section == section).map(|key| key.name);
            return Err(ConfigError::Unknown {
                place,
                what: "key",
                name: format!("{section}.{name}"),
                suggestion: suggest(name, names.clone()),
                allowed: format!("[{section}] has {}", names.collect::<Vec<_>>().join(", ")),
            });
        };
        if (key.set)(&mut self.config, value).is_none() {
            return Err(ConfigError::Value {
                place,
                key: key.path(),
                value: value.to_string(),
                allowed: (key.allowed)(),
            });
        }
        self.places.insert(key.path(), place);
        Ok(())
    }

    /// The seeds of the file take the place of the default ones.
    fn seeds(
        &mut self,
        seeds: &DeArray<'_>,
        at: &impl Fn(usize) -> Place,
    ) -> Result<(), ConfigError> {
        self.config.seeds.clear();
        for seed in seeds {
            let place = at(seed.span().start);
            let DeValue::Table(table) = seed.get_ref() else {
                return Err(seeds_expected(place, raw(seed.get_ref()).to_string()));
            };
            let known = |name: &str| SEED_KEYS.contains(&name);
            let unknown = table.keys().find(|name| !known(name.get_ref()));
            if let Some(name) = unknown {
                return Err(ConfigError::Unknown {
                    place: at(name.span().start),
                    what: "key",
                    name: format!("seeds.{}", name.get_ref()),
                    suggestion: suggest(name.get_ref(), SEED_KEYS.into_iter()),
                    allowed: "[[seeds]] has addr, http".to_owned(),
                });
            }
            let value = |name| table.get(name).map(|value| raw(value.get_ref()));
            let line = |name| {
                table.get(name).map_or_else(|| place.clone(), |value| at(value.span().start))
            };
            let Some(addr) = value("addr") else {
                return Err(seeds_expected(place, "without addr".to_owned()));
            };
            self.seed(&addr, value("http").as_ref(), line("addr"))?;
        }
        Ok(())
    }

    fn seed(
        &mut self,
        addr: &Raw<'_>,
        http: Option<&Raw<'_>>,
        place: Place,
    ) -> Result<(), ConfigError> {
        let i = self.config.seeds.len();
        let bad = |key: &str, value: &Raw<'_>, allowed: String| ConfigError::Value {
            place: place.clone(),
            key: format!("seeds[{i}].{key}"),
            value: value.to_string(),
            allowed,
        };
        if i >= SEEDS_MAX {
            return Err(bad("addr", addr, format!("at most {SEEDS_MAX} seeds")));
        }
        let parsed = resolve(addr).map_err(|allowed| bad("addr", addr, allowed))?;
        let http = match http {
            Some(http) => {
                MaybeAddress.parse(http).ok_or_else(|| bad("http", http, MaybeAddress.allowed()))?
            }
            None => None,
        };
        self.places.insert(format!("seeds[{i}]"), place);
        self.config.seeds.push(SeedEntry { addr: parsed, http });
        Ok(())
    }
}

/// An address, or a name that is looked up now and not again.
fn resolve(raw: &Raw<'_>) -> Result<SocketAddr, String> {
    let allowed = "an address IP:PORT or NAME:PORT in quotes, as in \"127.0.0.1:7101\"";
    let (Raw::Text(_) | Raw::Typed(_)) = raw else { return Err(allowed.to_owned()) };
    let text = match raw {
        Raw::Text(text) => text.as_ref(),
        Raw::Typed(text) => text,
        _ => "",
    };
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let is_name = text.rsplit_once(':').is_some_and(|(name, port)| {
        !name.is_empty() && !name.contains(':') && port.parse::<u16>().is_ok()
    });
    if !is_name {
        return Err(allowed.to_owned());
    }
    let found =
        text.to_socket_addrs().map_err(|error| format!("a name that resolves ({error})"))?;
    let found: Vec<_> = found.collect();
    let first_v4 = found.iter().find(|address| address.is_ipv4());
    first_v4
        .or_else(|| found.first())
        .copied()
        .ok_or_else(|| "a name that has an address".to_owned())
}

/// The parser's tables are sorted by name; people expect the first error first.
fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn raw<'a>(value: &'a DeValue<'_>) -> Raw<'a> {
    match value {
        DeValue::String(text) => Raw::Text(text.as_ref().into()),
        DeValue::Integer(number) => Raw::Integer(
            u64::from_str_radix(number.as_str(), number.radix()).ok(),
            number.to_string(),
        ),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Float(_) => Raw::Other("a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(_) => Raw::Other("a list"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

fn seeds_expected(place: Place, value: String) -> ConfigError {
    let allowed = "for each seed [[seeds]] and below it addr = \"IP:PORT\" and perhaps http";
    ConfigError::Value { place, key: "seeds".to_owned(), value, allowed: allowed.to_owned() }
}

fn unknown_section(place: Place, name: &str, content: &DeValue<'_>) -> ConfigError {
    let (what, names): (_, Vec<_>) = match content {
        DeValue::Table(_) | DeValue::Array(_) => ("section", SECTIONS.to_vec()),
        // A key above all sections.
        _ => ("key", KEYS.iter().map(|key| key.name).collect()),
    };
    let suggestion = suggest(name, names.into_iter());
    let allowed = format!("the sections are {}", SECTIONS.join(", "));
    ConfigError::Unknown { place, what, name: name.to_owned(), suggestion, allowed }
}

/// Other programs may have variables of our name: only one that is almost a key is an error.
fn check_spelling(variable: &str, place: Place) -> Result<(), ConfigError> {
    for key in KEYS {
        let prefix = format!("TIDINGS_{}_", key.section.to_ascii_uppercase());
        let Some(name) = variable.strip_prefix(&prefix) else { continue };
        if let Some(near) = suggest(name, std::iter::once(key.name)) {
            return Err(ConfigError::Unknown {
                place,
                what: "key",
                name: format!("{}.{}", key.section, name.to_ascii_lowercase()),
                suggestion: Some(format!("{prefix}{}", near.to_ascii_uppercase())),
                allowed: "variables are TIDINGS_<SECTION>_<KEY>".to_owned(),
            });
        }
    }
    Ok(())
}

const SEED_KEYS: [&str; 2] = ["addr", "http"];
/// A list of `ADDR` or `ADDR=HTTP`, with commas.
const SEEDS_VARIABLE: &str = "TIDINGS_SEEDS";
/// More than anybody runs: each further seed makes every write dearer.
const SEEDS_MAX: usize = 64;
