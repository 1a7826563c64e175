//! Recipes: how a base is built. Ours are embedded; a user's are files.

use std::{fs, path::Path};

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};

use super::{BaseError, busybox::Busybox, import::name_from_path, mmdebstrap::Mmdebstrap};
use crate::{ImageName, image::ImageConfig};

static RECIPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../images/bases");

/// How a base is built.
///
/// # Examples
///
/// ```no_run
/// use appcontainers::{NoProgress, Paths, Recipe, Service};
///
/// let recipe = Recipe::find("busybox")?;
/// assert_eq!(recipe.name.as_str(), "busybox");
/// Service::open(Paths::from_env()?).build_base("busybox", &NoProgress)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// What the base will be called: the file's name without `.toml`.
    pub name: ImageName,
    /// What it is, in a line.
    pub description: String,
    /// Where its files come from.
    pub source: RecipeSource,
    /// What containers from it start with.
    pub config: ImageConfig,
}

/// Where a base's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum RecipeSource {
    /// One static program of the host.
    Busybox(Busybox),
    /// Packages, fetched by mmdebstrap.
    Mmdebstrap(Mmdebstrap),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    description: String,
    source: RecipeSource,
    #[serde(default)]
    config: ImageConfig,
}

impl Recipe {
    /// A recipe of ours by its name, or any by the path of its `.toml` (which has a `/` or ends in `.toml`).
    pub fn find(name_or_path: &str) -> Result<Self, BaseError> {
        if name_or_path.contains('/') || name_or_path.ends_with(".toml") {
            let path = Path::new(name_or_path);
            let read = fs::read_to_string(path);
            let text = read.map_err(|source| BaseError::ReadRecipe { path: path.to_owned(), source })?;
            return Self::parse(name_from_path(path)?, &text);
        }
        let all = recipes()?;
        let known = || all.iter().map(|recipe| recipe.name.to_string()).collect();
        match all.iter().find(|recipe| recipe.name.as_str() == name_or_path) {
            Some(recipe) => Ok(recipe.clone()),
            None => Err(BaseError::UnknownRecipe { recipe: name_or_path.to_owned(), known: known() }),
        }
    }

    /// Reads the text of a recipe.
    pub fn parse(name: ImageName, text: &str) -> Result<Self, BaseError> {
        let parsed: Result<File, _> = toml::from_str(text);
        let malformed = |source| BaseError::Recipe { name: name.to_string(), source: Box::new(source) };
        let File { description, source, config } = parsed.map_err(malformed)?;
        match config.validate() {
            Ok(()) => Ok(Self { name, description, source, config }),
            Err(source) => Err(BaseError::RecipeConfig { name: name.to_string(), source }),
        }
    }
}

/// The recipes that are built in, by name.
pub fn recipes() -> Result<Vec<Recipe>, BaseError> {
    let mut recipes = Vec::new();
    for file in RECIPES.files() {
        let text = file.contents_utf8().unwrap_or_default();
        recipes.push(Recipe::parse(name_from_path(file.path())?, text)?);
    }
    recipes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(recipes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_recipes_are_whole() {
        let names: Vec<_> = recipes().unwrap().iter().map(|recipe| recipe.name.to_string()).collect();
        assert_eq!(names, ["busybox", "debian-12", "debian-13", "debian-13-system", "ubuntu-24.04"]);
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        let name: ImageName = "x".parse().unwrap();
        let good = "description = 'd'\n[source.busybox]\nprogram = '/bin/busybox'\npackage = 'p'\n";
        assert!(Recipe::parse(name.clone(), good).is_ok());
        for bad in ["descriptoin = 'd'\n", &good.replace("package", "pakage"), &format!("{good}[confg]\n")] {
            assert!(matches!(Recipe::parse(name.clone(), bad), Err(BaseError::Recipe { .. })), "{bad}");
        }
    }

    #[test]
    fn an_unknown_recipe_is_told_with_those_that_there_are() {
        let error = Recipe::find("debain-12").unwrap_err().to_string();
        assert!(error.contains("debain-12") && error.contains("debian-12"), "{error}");
    }
}
