//! `RUN --mount=type=…`: something lent to one RUN and never part of a
//! layer.

/// What kind of thing is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context or of another stage.
    Bind {
        /// `from=`: stage or image; the build context when absent.
        from: Option<String>,
        /// `source=`: the path in it.
        source: String,
        /// `rw`: writes are allowed, and thrown away.
        writable: bool,
    },
    /// A directory that survives from build to build.
    Cache {
        /// `id=`, by default the target: which cache.
        id: String,
        /// `from=` and `source=`: what a new cache starts with.
        from: Option<String>,
        /// See `from`.
        source: String,
        /// `ro`.
        readonly: bool,
        /// `sharing=`: `shared`, `private` or `locked`.
        sharing: String,
        /// `mode=`, octal.
        mode: u32,
        /// `uid=`.
        uid: u32,
        /// `gid=`.
        gid: u32,
    },
    /// A file system in memory.
    Tmpfs {
        /// `size=` in bytes, 0 for the kernel's default.
        size: u64,
    },
    /// A file that the image must not keep.
    Secret {
        /// `id=`: which secret given to the build.
        id: String,
        /// `env=`: hand it over in this variable.
        env: Option<String>,
        /// `required`: an absent secret is an error.
        required: bool,
        /// `mode=`.
        mode: u32,
        /// `uid=`.
        uid: u32,
        /// `gid=`.
        gid: u32,
    },
    /// An ssh agent's socket.
    Ssh {
        /// `id=`, by default `default`.
        id: String,
        /// `required`.
        required: bool,
        /// `mode=`.
        mode: u32,
        /// `uid=`.
        uid: u32,
        /// `gid=`.
        gid: u32,
    },
}

/// One `--mount` of a RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Kind and options.
    pub kind: MountKind,
    /// Where; empty for a secret or socket that goes to its usual place.
    pub target: String,
}

/// All keys of all kinds: a key that is known but belongs to another kind is
/// ignored by BuildKit, so it is here; a mistyped one is not.
const KEYS: [&str; 20] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
    "relabel",
];

/// The options as read, before their kind gives them a meaning.
#[derive(Default)]
struct Options<'a> {
    pairs: Vec<(&'a str, Option<&'a str>)>,
}

impl RunMount {
    /// Parses the value of `--mount=`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let options = Options::read(text)?;
        let kind = options.get(&["type"]).unwrap_or("bind");
        let target = options.get(&["target", "dst", "destination"]);
        let needs_target = matches!(kind, "bind" | "cache" | "tmpfs");
        if needs_target && target.is_none_or(str::is_empty) {
            return Err(format!("--mount=type={kind}: target is required"));
        }
        let target = target.unwrap_or_default().to_owned();
        let kind = match kind {
            "bind" => options.bind()?,
            "cache" => options.cache(&target)?,
            "tmpfs" => MountKind::Tmpfs { size: options.size()? },
            "secret" => options.secret(&target)?,
            "ssh" => options.ssh()?,
            other => return Err(format!("unsupported mount type {other:?}")),
        };
        Ok(Self { kind, target })
    }
}

impl<'a> Options<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut found = Self::default();
        for field in text.split(',') {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field, None),
            };
            if !KEYS.contains(&key) {
                return Err(format!("unexpected key '{key}' in '{field}'"));
            }
            let flag = matches!(
                key,
                "readonly" | "ro" | "readwrite" | "rw" | "required"
            );
            if value.is_none() && !flag {
                return Err(format!(
                    "invalid field '{field}' must be a key=value pair"
                ));
            }
            found.pairs.push((key, value));
        }
        Ok(found)
    }

    /// The last one wins, as with flags. Several names may mean one key.
    fn get(&self, names: &[&str]) -> Option<&'a str> {
        let found = |(key, _): &&(&str, _)| names.contains(key);
        self.pairs.iter().rev().find(found).and_then(|(_, value)| *value)
    }

    /// `ro`, `ro=true` and `ro=1` are the same.
    fn flag(&self, names: &[&str]) -> Result<Option<bool>, String> {
        let found = |(key, _): &&(&str, _)| names.contains(key);
        match self.pairs.iter().rev().find(found) {
            None => Ok(None),
            Some((_, None | Some("true" | "1"))) => Ok(Some(true)),
            Some((_, Some("false" | "0"))) => Ok(Some(false)),
            Some((key, Some(value))) => {
                Err(format!("invalid value for {key}: {value}"))
            }
        }
    }

    /// Modes are octal, owners decimal, as everywhere in Unix.
    fn number(&self, name: &str, base: u32, or: u32) -> Result<u32, String> {
        let Some(text) = self.get(&[name]) else { return Ok(or) };
        u32::from_str_radix(text, base)
            .map_err(|_| format!("invalid value {text} for {name}"))
    }

    /// Where files come from, and the path there; the root by default.
    fn origin(&self) -> (Option<String>, String) {
        let from = self.get(&["from"]).map(String::from);
        let source = self.get(&["source", "src"]).unwrap_or("/");
        (from, source.to_owned())
    }

    /// Read-only unless asked otherwise: writes would be lost anyway, and a
    /// build that counts on them is a surprise waiting to happen.
    fn bind(&self) -> Result<MountKind, String> {
        let (from, source) = self.origin();
        let writable = match self.flag(&["readonly", "ro"])? {
            Some(readonly) => !readonly,
            None => self.flag(&["readwrite", "rw"])?.unwrap_or(false),
        };
        Ok(MountKind::Bind { from, source, writable })
    }

    /// Writable and shared by default. The target names the cache, so that two
    /// Dockerfiles that mount `/root/.cache/pip` share it.
    fn cache(&self, target: &str) -> Result<MountKind, String> {
        let (from, source) = self.origin();
        let sharing = self.get(&["sharing"]).unwrap_or("shared");
        if !matches!(sharing, "shared" | "private" | "locked") {
            return Err(format!("unsupported sharing value {sharing:?}"));
        }
        Ok(MountKind::Cache {
            id: self.get(&["id"]).unwrap_or(target).to_owned(),
            from,
            source,
            readonly: self.flag(&["readonly", "ro"])?.unwrap_or(false),
            sharing: sharing.to_owned(),
            mode: self.number("mode", 8, 0o755)?,
            uid: self.number("uid", 10, 0)?,
            gid: self.number("gid", 10, 0)?,
        })
    }

    /// Bytes, or with one of the suffixes `k`, `m`, `g` (powers of 1024).
    fn size(&self) -> Result<u64, String> {
        let Some(text) = self.get(&["size"]) else { return Ok(0) };
        let lower = text.to_ascii_lowercase();
        let lower = lower.trim_end_matches('b').trim_end_matches('i');
        let (digits, shift) = match lower.chars().last() {
            Some('k') => (&lower[..lower.len() - 1], 10),
            Some('m') => (&lower[..lower.len() - 1], 20),
            Some('g') => (&lower[..lower.len() - 1], 30),
            _ => (lower, 0),
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(1 << shift))
            .ok_or_else(|| format!("invalid value {text} for size"))
    }

    /// The id may be left out when the target's file name says it. The mode
    /// lets nobody read it but its owner.
    fn secret(&self, target: &str) -> Result<MountKind, String> {
        let from_target = target.rsplit('/').next().unwrap_or_default();
        let id = self.get(&["id"]).unwrap_or(from_target).to_owned();
        if id.is_empty() {
            return Err("--mount=type=secret: id or target is required".into());
        }
        Ok(MountKind::Secret {
            id,
            env: self.get(&["env"]).map(String::from),
            required: self.flag(&["required"])?.unwrap_or(false),
            mode: self.number("mode", 8, 0o400)?,
            uid: self.number("uid", 10, 0)?,
            gid: self.number("gid", 10, 0)?,
        })
    }

    /// One agent without a name is called `default`, as by `docker build --ssh
    /// default`.
    fn ssh(&self) -> Result<MountKind, String> {
        Ok(MountKind::Ssh {
            id: self.get(&["id"]).unwrap_or("default").to_owned(),
            required: self.flag(&["required"])?.unwrap_or(false),
            mode: self.number("mode", 8, 0o600)?,
            uid: self.number("uid", 10, 0)?,
            gid: self.number("gid", 10, 0)?,
        })
    }
}
