//! Which stages there are to build, and in what order.
//!
//! A Dockerfile's stages form a graph: a stage needs the one it is FROM, and
//! those it copies or mounts from. Only what the target needs is built.

use super::dockerfile::{
    Command, Dockerfile, Excerpt, Instruction, MountKind, Stage,
};
use super::expand::expand;
use super::scope::Scope;
use std::collections::BTreeMap;

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// `FROM scratch`: nothing at all.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image, by the name in the file.
    Image(String),
}

/// Where a COPY `--from` or a mount takes its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(String),
}

/// The stages to build.
#[derive(Debug)]
pub(super) struct Plan {
    /// Base and platform of every stage, in the file's order.
    pub(super) bases: Vec<(Base, Option<String>)>,
    /// The stages to build, in the file's order; the target is last.
    pub(super) order: Vec<usize>,
    /// How many instructions that is.
    pub(super) steps: usize,
}

/// See [`BuildOptions::contexts`](super::BuildOptions::contexts).
type Contexts = BTreeMap<String, String>;

/// What is wrong, and where.
pub(super) type PlanError = (String, Option<Excerpt>);

impl Plan {
    /// Resolves names; `scope` has the ARGs from before the first FROM.
    pub(super) fn new(
        file: &Dockerfile,
        target: Option<&str>,
        scope: &Scope,
        contexts: &Contexts,
    ) -> Result<Self, PlanError> {
        let mut bases = Vec::new();
        for (index, stage) in file.stages.iter().enumerate() {
            let earlier = &file.stages[..index];
            let found =
                base(stage, earlier, scope, contexts).map_err(|message| {
                    (message, Some(stage.head.excerpt.clone()))
                })?;
            bases.push(found);
        }
        let target = match target {
            None | Some("") => file.stages.len() - 1,
            Some(name) => stage_of(name, &file.stages).ok_or_else(|| {
                let message = format!(
                    "failed to reach build target {name} in Dockerfile"
                );
                (message, None)
            })?,
        };
        let mut order = Vec::new();
        visit(target, file, &bases, contexts, &mut order)?;
        order.sort_unstable();
        let length = |index: &usize| file.stages[*index].body.len() + 1;
        let in_stages: usize = order.iter().map(length).sum();
        let steps = file.globals.len() + in_stages;
        Ok(Self { bases, order, steps })
    }

    /// The stage that becomes the image. Stages need earlier ones only, so
    /// it is the last.
    pub(super) fn target(&self) -> usize {
        self.order.last().copied().unwrap_or_default()
    }

    /// How many instructions come before the stage at this place in the
    /// order.
    pub(super) fn steps_before(
        &self,
        place: usize,
        file: &Dockerfile,
    ) -> usize {
        let stages = self.order[..place].iter();
        let before = stages.map(|index| file.stages[*index].body.len() + 1);
        file.globals.len() + before.sum::<usize>()
    }
}

/// An earlier stage's name hides an image of the same name, as in Docker:
/// `FROM debian AS debian` is a common trick.
fn base(
    stage: &Stage,
    earlier: &[Stage],
    scope: &Scope,
    contexts: &Contexts,
) -> Result<(Base, Option<String>), String> {
    let say = |text: &str| {
        expand(text, scope.escape, &|name| scope.get(name))
            .map_err(|error| error.to_string())
    };
    let written = &stage.from.image;
    let name = say(written)?;
    if name.is_empty() {
        return Err(format!("base name ({written}) should not be blank"));
    }
    let platform = stage.from.platform.as_deref().map(say).transpose()?;
    let found = earlier
        .iter()
        .rposition(|s| s.from.name.as_deref() == Some(&name.to_lowercase()));
    let base = match found {
        _ if contexts.contains_key(&name) => {
            Base::Image(contexts[&name].clone())
        }
        Some(index) => Base::Stage(index),
        None if name == "scratch" => Base::Scratch,
        None => Base::Image(name),
    };
    Ok((base, platform.filter(|text| !text.is_empty())))
}

/// The last stage of this name, or the one of this number.
fn stage_of(name: &str, stages: &[Stage]) -> Option<usize> {
    let lower = name.to_lowercase();
    let by_name = |s: &Stage| s.from.name.as_deref() == Some(&lower);
    stages.iter().rposition(by_name).or_else(|| {
        name.parse().ok().filter(|index: &usize| *index < stages.len())
    })
}

/// What `--from=name` means in the stage `current`.
pub(super) fn origin(
    name: &str,
    file: &Dockerfile,
    current: usize,
    contexts: &Contexts,
) -> Result<Origin, String> {
    if let Some(image) = contexts.get(name) {
        return Ok(Origin::Image(image.clone()));
    }
    if name.parse() == Ok(current) {
        return Err(format!(
            "invalid from flag value {name}: refers to current build stage"
        ));
    }
    Ok(match stage_of(name, &file.stages[..current]) {
        Some(index) => Origin::Stage(index),
        None => Origin::Image(name.to_owned()),
    })
}

/// Every `--from` and `from=` of an instruction.
pub(super) fn origins(instruction: &Instruction) -> Vec<&str> {
    match &instruction.command {
        Command::Copy(copy) => copy.from.as_deref().into_iter().collect(),
        Command::Run(run) => {
            let from = run.mounts.iter().map(|mount| match &mount.kind {
                MountKind::Bind { from, .. }
                | MountKind::Cache { from, .. } => from.as_deref(),
                _ => None,
            });
            from.flatten().collect()
        }
        _ => Vec::new(),
    }
}

/// Depth first; stages refer to earlier ones only, so there is no cycle.
fn visit(
    index: usize,
    file: &Dockerfile,
    bases: &[(Base, Option<String>)],
    contexts: &Contexts,
    order: &mut Vec<usize>,
) -> Result<(), PlanError> {
    if order.contains(&index) {
        return Ok(());
    }
    if let Base::Stage(below) = bases[index].0 {
        visit(below, file, bases, contexts, order)?;
    }
    for instruction in &file.stages[index].body {
        for name in origins(instruction) {
            let found =
                origin(name, file, index, contexts).map_err(|message| {
                    (message, Some(instruction.excerpt.clone()))
                })?;
            if let Origin::Stage(needed) = found {
                visit(needed, file, bases, contexts, order)?;
            }
        }
    }
    order.push(index);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, target: Option<&str>) -> Result<Plan, PlanError> {
        let file = Dockerfile::parse(text).unwrap();
        let mut scope = Scope::new('\\');
        scope.set("V", "1.2");
        Plan::new(&file, target, &scope, &BTreeMap::new())
    }

    const FILE: &str = "FROM golang:$V AS tools\nRUN x\n\
        FROM debian AS unused\nRUN y\n\
        FROM tools AS build\nCOPY --from=0 /a /b\n\
        FROM scratch\nRUN --mount=from=build,target=/b z\n";

    #[test]
    fn only_what_the_target_needs_is_built() {
        let found = plan(FILE, None).unwrap();
        assert_eq!(found.order, [0, 2, 3]);
        assert_eq!(found.steps, 6);
        assert_eq!(found.bases[0].0, Base::Image("golang:1.2".into()));
        assert_eq!(found.bases[2].0, Base::Stage(0));
        assert_eq!(plan(FILE, Some("UNUSED")).unwrap().order, [1]);
        assert_eq!(plan(FILE, Some("0")).unwrap().order, [0]);
    }

    #[test]
    fn a_named_context_goes_before_stages_and_images_of_its_name() {
        let file = Dockerfile::parse(FILE).unwrap();
        let mut scope = Scope::new('\\');
        scope.set("V", "1.2");
        let own = |it: &str| it.to_owned();
        let contexts = BTreeMap::from([
            (own("golang:1.2"), own("sha256:1")),
            (own("build"), own("sha256:2")),
        ]);
        let found = Plan::new(&file, None, &scope, &contexts).unwrap();
        assert_eq!(found.order, [3], "nothing of `build` is needed");
        assert_eq!(found.bases[0].0, Base::Image("sha256:1".into()));
        let from = origin("build", &file, 3, &contexts).unwrap();
        assert_eq!(from, Origin::Image("sha256:2".into()));
    }

    #[test]
    fn a_name_that_leads_nowhere_is_refused() {
        let (message, _) = plan(FILE, Some("prod")).unwrap_err();
        assert!(message.contains("failed to reach build target prod"));
        let (message, at) = plan("FROM ${NONE}\n", None).unwrap_err();
        assert_eq!(message, "base name (${NONE}) should not be blank");
        assert_eq!(at.unwrap().line, 1);
        let (message, _) =
            plan("FROM a\nCOPY --from=0 a b\n", None).unwrap_err();
        assert!(message.contains("refers to current build stage"));
    }
}
