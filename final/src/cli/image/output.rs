//! `build --output`: where the result goes besides the engine's images.
//!
//! The forms and words are those of `docker buildx build`. An archive is both
//! at once here, a docker-archive and an OCI layout, so `docker` and `oci`
//! write the same.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use cli_api::client::Payload;
use http::Method;
use hyper::Response;
use hyper::body::Incoming;
use serde::Deserialize;

use super::layout;
use super::pull::push_built;
use crate::cli::context::Context;
use crate::cli::download;
use crate::cli::progress::Show;
use crate::cli::query::{Query, segment};

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// The files, into a directory; what else is in there stays.
    Local(PathBuf),
    /// The files, as a tar.
    Tar(Target),
    /// The image, as an archive.
    Archive(Target),
    /// The image, as an OCI layout directory.
    Layout(PathBuf),
    /// The image in the engine, which has it anyway, and in its registry.
    Image { names: Vec<String>, push: bool },
}

/// Where an archive goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Stdout,
    File(PathBuf),
}

impl Target {
    fn path(&self) -> Option<&Path> {
        match self {
            Target::Stdout => None,
            Target::File(path) => Some(path),
        }
    }
}

impl FromStr for Output {
    type Err = String;

    /// `DIR`, `-`, or `type=TYPE[,dest=PATH][,NAME=VALUE]…`.
    fn from_str(text: &str) -> Result<Output, String> {
        if text == "-" {
            return Ok(Output::Tar(Target::Stdout));
        }
        if !text.contains('=') {
            return Ok(Output::Local(text.into()));
        }
        let mut fields = Fields::parse(text)?;
        let kind = fields.take("type");
        let kind = kind.ok_or("type is required for output")?;
        let output = match kind.as_str() {
            "local" => Output::Local(fields.directory(&kind)?),
            "tar" => Output::Tar(fields.target()),
            "oci" | "docker" => fields.image(&kind)?,
            "image" | "registry" => fields.named(kind == "registry")?,
            _ => {
                return Err(format!(
                    "unknown type {kind:?}: local, tar, docker, oci, image or \
                     registry"
                ));
            }
        };
        fields.all_known(&kind)?;
        Ok(output)
    }
}

/// `NAME=VALUE` pairs that nobody has looked at yet.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(text: &str) -> Result<Fields, String> {
        let pair = |field: &str| {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| format!("invalid value {field:?}"))?;
            Ok((name.trim().to_lowercase(), value.to_owned()))
        };
        text.split(',').map(pair).collect::<Result<_, _>>().map(Fields)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        let Some(text) = self.take(name) else { return Ok(default) };
        text.parse().map_err(|_| format!("{name}={text}: true or false"))
    }

    /// Without `dest`, to standard output.
    fn target(&mut self) -> Target {
        match self.take("dest") {
            Some(path) if path != "-" => Target::File(path.into()),
            _ => Target::Stdout,
        }
    }

    fn directory(&mut self, kind: &str) -> Result<PathBuf, String> {
        match self.take("dest") {
            None => Err(format!("dest is required for {kind} output")),
            Some(dest) if dest == "-" => {
                Err(format!("dest cannot be stdout for {kind} output"))
            }
            Some(dest) => Ok(dest.into()),
        }
    }

    /// `docker` without a file means the engine itself.
    fn image(&mut self, kind: &str) -> Result<Output, String> {
        if !self.flag("tar", true)? {
            return Ok(Output::Layout(self.directory(kind)?));
        }
        let has_dest = self.0.iter().any(|(name, _)| name == "dest");
        match kind == "docker" && !has_dest {
            true => self.named(false),
            false => Ok(Output::Archive(self.target())),
        }
    }

    fn named(&mut self, push: bool) -> Result<Output, String> {
        let names = self.take("name").into_iter().collect();
        let push = self.flag("push", push)?;
        Ok(Output::Image { names, push })
    }

    /// A field without effect would be a silent lie.
    fn all_known(self, kind: &str) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(format!("{name} is not supported for {kind} output"))
            }
        }
    }
}

/// All of a build.
#[derive(Debug, Clone)]
pub(super) struct Outputs(Vec<Output>);

impl Outputs {
    /// Checked before anything is built.
    ///
    /// # Errors
    /// For an archive that would go to a terminal, two to one place, or a
    /// push of an image without a name.
    pub(super) fn new(
        outputs: Vec<Output>,
        tags: &[String],
    ) -> anyhow::Result<Outputs> {
        let named = |it: &Output| matches!(it, Output::Image { names, .. } if !names.is_empty());
        let named = !tags.is_empty() || outputs.iter().any(named);
        let stdout = outputs.iter().filter(|it| it.is_stdout()).count();
        anyhow::ensure!(
            stdout == 0 || !std::io::stdout().is_terminal(),
            "dest file is required for this output: refusing to write to a \
             terminal"
        );
        anyhow::ensure!(
            stdout < 2,
            "two outputs cannot both go to standard output: give one a dest="
        );
        let mut places = HashSet::new();
        for place in outputs.iter().filter_map(Output::place) {
            anyhow::ensure!(
                places.insert(place),
                "two outputs cannot both go to {}: give one another dest=",
                place.display()
            );
        }
        let pushes =
            |it: &Output| matches!(it, Output::Image { push: true, .. });
        anyhow::ensure!(
            named || !outputs.iter().any(pushes),
            "tag is needed when pushing to registry: -t HOST/NAME:TAG"
        );
        Ok(Outputs(outputs))
    }

    /// Whether standard output belongs to an archive.
    pub(super) fn take_stdout(&self) -> bool {
        self.0.iter().any(Output::is_stdout)
    }

    /// Whether only files are wanted, and no image.
    pub(super) fn files_only(&self) -> bool {
        let files =
            |it: &Output| matches!(it, Output::Local(_) | Output::Tar(_));
        !self.0.is_empty() && self.0.iter().all(files)
    }

    /// Names that the outputs add to the image.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.iter().flat_map(|it| match it {
            Output::Image { names, .. } => names.as_slice(),
            _ => &[],
        })
    }

    /// Brings the finished image there. `tags` are all of its names.
    ///
    /// # Errors
    /// If the engine cannot send it, or it cannot be written.
    pub(super) async fn deliver(
        &self,
        context: &Context,
        image: &str,
        tags: &[String],
        show: Show,
    ) -> anyhow::Result<()> {
        for output in &self.0 {
            output.deliver(context, image, tags, show).await?;
        }
        Ok(())
    }
}

impl Output {
    fn is_stdout(&self) -> bool {
        matches!(
            self,
            Output::Tar(Target::Stdout) | Output::Archive(Target::Stdout)
        )
    }

    /// The file or directory that it writes.
    fn place(&self) -> Option<&Path> {
        match self {
            Output::Local(dir) | Output::Layout(dir) => Some(dir),
            Output::Tar(target) | Output::Archive(target) => target.path(),
            Output::Image { .. } => None,
        }
    }

    async fn deliver(
        &self,
        context: &Context,
        image: &str,
        tags: &[String],
        show: Show,
    ) -> anyhow::Result<()> {
        match self {
            Output::Local(dir) => {
                let failed = || format!("failed to write {}", dir.display());
                std::fs::create_dir_all(dir).with_context(failed)?;
                let answer = files_of(context, image).await?;
                layout::unpack(answer, dir).await.with_context(failed)
            }
            Output::Tar(target) => {
                let answer = files_of(context, image).await?;
                download::save(answer, target.path()).await
            }
            Output::Archive(target) => {
                let answer = archive_of(context, image, tags).await?;
                download::save(answer, target.path()).await
            }
            Output::Layout(dir) => {
                let answer = archive_of(context, image, tags).await?;
                layout::save(answer, dir).await
            }
            Output::Image { push: false, .. } => Ok(()),
            Output::Image { push: true, .. } => {
                for tag in tags {
                    push_built(context, tag, show).await?;
                }
                Ok(())
            }
        }
    }
}

async fn files_of(
    context: &Context,
    image: &str,
) -> anyhow::Result<Response<Incoming>> {
    let path = format!("/images/{}/export", segment(image));
    Ok(context.client.send(Method::GET, &path, Payload::none()).await?)
}

/// By its names, or the archive would have none.
async fn archive_of(
    context: &Context,
    image: &str,
    tags: &[String],
) -> anyhow::Result<Response<Incoming>> {
    let mut query = Query::new("/images/get");
    if tags.is_empty() {
        query = query.with("names", image);
    }
    for tag in tags {
        query = query.with("names", tag);
    }
    let none = Payload::none();
    Ok(context.client.send(Method::GET, &query.build(), none).await?)
}

/// The repository of images that are only on their way to files.
const OURS: &str = "skiff-output";

/// The images that were there before a build of which only files are wanted.
pub(super) struct Before(HashSet<String>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

impl Before {
    pub(super) async fn look(context: &Context) -> anyhow::Result<Before> {
        let all: Vec<Listed> = context.client.get("/images/json?all=1").await?;
        Ok(Before(all.into_iter().map(|it| it.id).collect()))
    }

    /// Takes the image away again, unless it was there already. What the
    /// steps made stays in the build cache.
    ///
    /// By a name that nobody else has: where somebody has built the same
    /// image meanwhile, it has another name too, and only ours goes.
    pub(super) async fn restore(
        &self,
        context: &Context,
        image: &str,
    ) -> anyhow::Result<()> {
        if self.0.contains(image) {
            return Ok(());
        }
        let client = &context.client;
        let tag = format!("{:016x}", getrandom::u64()?);
        let query = Query::new(format!("/images/{}/tag", segment(image)))
            .with("repo", OURS)
            .with("tag", &tag)
            .build();
        client.send(Method::POST, &query, Payload::none()).await?;
        let path = format!("/images/{OURS}:{tag}?noprune=1");
        client.send(Method::DELETE, &path, Payload::none()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_an_output_are_buildxs() {
        let parse = |text: &str| text.parse::<Output>();
        let file = |path: &str| Target::File(path.into());
        assert_eq!(parse("out"), Ok(Output::Local("out".into())));
        assert_eq!(parse("-"), Ok(Output::Tar(Target::Stdout)));
        assert_eq!(parse("type=tar"), Ok(Output::Tar(Target::Stdout)));
        assert_eq!(
            parse("type=local,dest=a/b"),
            Ok(Output::Local("a/b".into()))
        );
        assert_eq!(
            parse("type=tar,dest=x.tar"),
            Ok(Output::Tar(file("x.tar")))
        );
        assert_eq!(parse("type=oci,dest=x"), Ok(Output::Archive(file("x"))));
        assert_eq!(
            parse("type=oci,dest=x,tar=false"),
            Ok(Output::Layout("x".into()))
        );
        assert_eq!(
            parse("type=docker,dest=-"),
            Ok(Output::Archive(Target::Stdout))
        );
        let image = |names: &[&str], push| Output::Image {
            names: names.iter().map(|it| (*it).to_owned()).collect(),
            push,
        };
        assert_eq!(parse("type=docker"), Ok(image(&[], false)));
        assert_eq!(parse("type=registry"), Ok(image(&[], true)));
        assert_eq!(
            parse("type=image,name=a/b,push=true"),
            Ok(image(&["a/b"], true))
        );
    }

    #[test]
    fn what_cannot_be_delivered_is_refused_before_the_build() {
        let outputs = |texts: &[&str], tags: &[&str]| {
            let outputs = texts.iter().map(|it| it.parse().unwrap()).collect();
            let tags: Vec<_> = tags.iter().map(|it| (*it).into()).collect();
            Outputs::new(outputs, &tags).map(drop).map_err(|it| it.to_string())
        };
        let push = "type=registry";
        let said = outputs(&[push], &[]).unwrap_err();
        assert!(said.starts_with("tag is needed when pushing"), "{said}");
        assert_eq!(outputs(&[push], &["a/b"]), Ok(()));
        assert_eq!(outputs(&["type=image,name=a/b,push=true"], &[]), Ok(()));
        assert_eq!(outputs(&["a", "b", "type=tar,dest=c"], &[]), Ok(()));
        let twice = outputs(&["type=oci,dest=a", "type=tar,dest=a"], &[]);
        let said = twice.unwrap_err();
        assert!(said.starts_with("two outputs cannot both go to a"), "{said}");
    }

    #[test]
    fn an_output_that_makes_no_sense_is_refused_by_name() {
        let wrong = [
            "dest=x",
            "type=local",
            "type=local,dest=-",
            "type=oci,tar=false",
            "type=floppy",
            "type=tar,compression=zstd",
            "type=oci,tar=perhaps,dest=x",
            "type=tar,x",
        ];
        let said = wrong.map(|text| {
            format!("{text}: {}", text.parse::<Output>().unwrap_err())
        });
        insta::assert_snapshot!(said.join("\n"), @r#"
        dest=x: type is required for output
        type=local: dest is required for local output
        type=local,dest=-: dest cannot be stdout for local output
        type=oci,tar=false: dest is required for oci output
        type=floppy: unknown type "floppy": local, tar, docker, oci, image or registry
        type=tar,compression=zstd: compression is not supported for tar output
        type=oci,tar=perhaps,dest=x: tar=perhaps: true or false
        type=tar,x: invalid value "x"
        "#);
    }
}
