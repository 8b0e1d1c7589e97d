//! Platforms: which machine an image runs on.
//!
//! | here | uname -m | images |
//! |---|---|---|
//! | `amd64` | `x86_64` | `linux/amd64` |
//! | `arm64` | `aarch64` | `linux/arm64`, sometimes `linux/arm64/v8` |
//! | `arm` | `armv7l` | `linux/arm/v7`, older `v6`, `v5` |
//!
//! One tag may stand for several images (an *index*), one for each platform.
//! The names are Go's (`amd64`, not `x86_64`), because registries use them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor, `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`; anything else cannot run here.
    pub os: String,
    /// `amd64`, `arm64`, `arm`, `386`, `riscv64`…
    pub architecture: String,
    /// `v7`, `v8`…; absent for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Windows only; kept so that an index survives a round trip.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
}

/// The text has not the form `os/arch[/variant]`, `os` or `arch`. Docker's
/// sentences.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// A word alone that is neither a system nor a processor.
    #[error(
        "{0:?}: unknown operating system or architecture: invalid argument"
    )]
    Unknown(String),
    /// Too many words.
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Form(String),
    /// A word that is none.
    #[error(
        "{part:?} is an invalid component of {whole:?}: platform specifier \
         component must match \"^[A-Za-z0-9_-]+$\": invalid argument"
    )]
    Component {
        /// The word.
        part: String,
        /// The text that it is a part of.
        whole: String,
    },
}

/// What a platform of one word may name, as in Go.
const SYSTEMS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
const ARCHITECTURES: [&str; 19] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le",
    "mipsle", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x",
    "sparc", "sparc64", "wasm",
];

impl Platform {
    /// A Linux platform without variant.
    pub fn linux(architecture: &str) -> Platform {
        Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
            os_version: None,
        }
    }

    /// The machine this program was built for.
    pub fn host() -> Platform {
        let mut platform =
            Platform::linux(canonical_arch(std::env::consts::ARCH));
        if platform.architecture == "arm" {
            platform.variant = Some("v7".to_owned());
        }
        platform
    }

    /// How well an image for `self` suits a machine that wants `wanted`: the
    /// least number is best, `None` does not run. arm64 has v8 only, so that
    /// variant counts as none; an older 32-bit arm runs on a newer one.
    pub fn suits(&self, wanted: &Platform) -> Option<u8> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        if self.architecture != "arm" {
            let mine = self.plain_variant();
            let theirs = wanted.plain_variant();
            return match (mine, theirs) {
                (mine, theirs) if mine == theirs => Some(0),
                (None, _) | (_, None) => Some(1),
                _ => None,
            };
        }
        let number = |variant: &Option<String>| {
            let text = variant.as_deref().unwrap_or("v7");
            text.trim_start_matches('v').parse::<u8>().unwrap_or(7)
        };
        number(&wanted.variant).checked_sub(number(&self.variant))
    }

    /// The variant that an image without one has as well.
    fn plain_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", Some("v8")) | ("amd64", Some("v1")) => None,
            (_, variant) => variant,
        }
    }
}

/// Go's name for an architecture that may be given by the kernel's name.
fn canonical_arch(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i386" | "i686" => "386",
        "armhf" | "armel" => "arm",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// A system on this machine's processor, or Linux on a processor.
fn one_word(word: &str) -> Result<Platform, PlatformError> {
    let lower = word.to_lowercase();
    let os = if lower == "macos" { "darwin" } else { &lower };
    if SYSTEMS.contains(&os) {
        return Ok(Platform { os: os.to_owned(), ..Platform::host() });
    }
    let arch = canonical_arch(&lower);
    match ARCHITECTURES.contains(&arch) {
        true => Ok(Platform::linux(arch)),
        false => Err(PlatformError::Unknown(word.to_owned())),
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let good = |part: &&&str| {
            let byte = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
            !part.is_empty() && part.bytes().all(byte)
        };
        if let Some(part) = parts.iter().find(|part| !good(part)) {
            let (part, whole) = ((*part).to_owned(), text.to_owned());
            return Err(PlatformError::Component { part, whole });
        }
        let mut platform = match parts[..] {
            [word] => one_word(word)?,
            [os, arch] | [os, arch, _] => Platform {
                os: os.to_lowercase(),
                ..Platform::linux(canonical_arch(&arch.to_lowercase()))
            },
            _ => return Err(PlatformError::Form(text.to_owned())),
        };
        if let [_, _, variant] = parts[..] {
            platform.variant = Some(variant.to_lowercase());
        }
        Ok(platform)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suits(image: &str, machine: &str) -> Option<u8> {
        let image: Platform = image.parse().unwrap();
        image.suits(&machine.parse().unwrap())
    }

    #[test]
    fn an_older_arm_runs_on_a_newer_one_but_not_the_reverse() {
        assert_eq!(suits("linux/arm/v7", "linux/arm/v7"), Some(0));
        assert_eq!(suits("linux/arm/v6", "linux/arm/v7"), Some(1));
        assert_eq!(suits("linux/arm/v7", "linux/arm/v6"), None);
    }

    #[test]
    fn arm64_v8_is_plain_arm64() {
        assert_eq!(suits("linux/arm64/v8", "linux/arm64"), Some(0));
        assert_eq!(suits("linux/amd64", "linux/arm64"), None);
        assert_eq!(suits("windows/amd64", "linux/amd64"), None);
    }

    #[test]
    fn the_kernels_names_are_understood() {
        let platform: Platform = "linux/x86_64".parse().unwrap();
        assert_eq!(platform.to_string(), "linux/amd64");
        assert_eq!("aarch64".parse(), Ok(Platform::linux("arm64")));
        assert_eq!("linux".parse(), Ok(Platform::host()));
    }

    #[test]
    fn what_is_no_platform_is_refused_in_dockers_words() {
        let texts = ["foo", "linux/", "linux/amd64,linux/arm64", "a/b/c/d"];
        let said = texts.map(|it| it.parse::<Platform>().unwrap_err());
        let said = said.map(|it| it.to_string());
        insta::assert_snapshot!(said.join("\n"), @r#"
        "foo": unknown operating system or architecture: invalid argument
        "" is an invalid component of "linux/": platform specifier component must match "^[A-Za-z0-9_-]+$": invalid argument
        "amd64,linux" is an invalid component of "linux/amd64,linux/arm64": platform specifier component must match "^[A-Za-z0-9_-]+$": invalid argument
        "a/b/c/d": cannot parse platform specifier: invalid argument
        "#);
    }
}
