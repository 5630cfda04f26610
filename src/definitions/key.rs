//! Which definition is meant.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fingerprint;

/// The workspace of definitions that the local editor saves; it exists on this machine only.
pub const LOCAL_WORKSPACE: &str = "local";

/// An API key. `Display` and `Debug` do not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ApiKey(Arc<str>);

impl ApiKey {
    /// Wraps a key.
    pub fn new(key: &str) -> Self {
        Self(key.into())
    }

    /// The key itself, for the request to the platform.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A definition of the platform as one API key sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlatformKey {
    workspace: Arc<str>,
    workflow: Arc<str>,
    version: Option<Arc<str>>,
    api_key: Option<ApiKey>,
}

impl PlatformKey {
    /// The published definition of a workflow, or its pinned version. An empty version is none, and
    /// so is an API key that is empty or `local`.
    pub fn new(
        workspace: &str,
        workflow: &str,
        version: Option<&str>,
        api_key: Option<ApiKey>,
    ) -> Self {
        Self {
            workspace: workspace.into(),
            workflow: workflow.into(),
            version: version.filter(|v| !v.is_empty()).map(Arc::from),
            api_key: api_key.filter(|k| !matches!(k.expose(), "" | LOCAL_WORKSPACE)),
        }
    }

    /// The workspace.
    pub fn workspace(&self) -> &str {
        &self.workspace
    }

    /// The workflow's id in the workspace.
    pub fn workflow(&self) -> &str {
        &self.workflow
    }

    /// The pinned version, if any.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The API key, if any.
    pub fn api_key(&self) -> Option<&ApiKey> {
        self.api_key.as_ref()
    }

    /// The same with this API key, if it has none.
    pub(super) fn or_key(self, own: &ApiKey) -> Self {
        Self {
            api_key: self.api_key.or_else(|| Some(own.clone())),
            ..self
        }
    }

    /// Fingerprint of the API key in the workspace.
    pub(super) fn tenant(&self) -> String {
        let api_key = self.api_key.as_ref().map_or("", ApiKey::expose);
        fingerprint::tenant(api_key, &self.workspace)
    }

    /// Key in memory; with `single_tenant` all API keys share it.
    pub(super) fn memory_key(&self, single_tenant: bool) -> String {
        let identity = fingerprint::identity(&self.workspace, &self.workflow, self.version());
        if single_tenant {
            format!("workflow_definition:v2:{identity}")
        } else {
            format!("workflow_definition:v2:{identity}:{}", self.tenant())
        }
    }

    /// Place of the disk copy below `MODEL_CACHE_DIR`.
    pub(super) fn disk_path(&self, single_tenant: bool) -> PathBuf {
        let tenant = (!single_tenant).then(|| self.tenant());
        fingerprint::disk_path(
            &self.workspace,
            &self.workflow,
            self.version(),
            tenant.as_deref(),
        )
    }
}

/// Which definition is meant, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DefinitionKey {
    /// A definition of the platform.
    Platform(PlatformKey),
    /// A definition that the local editor saved, by its id.
    Local(Arc<str>),
    /// A file of the watched folder, by its name without `.json`.
    Folder(Arc<str>),
    /// A file.
    File(PathBuf),
}

impl DefinitionKey {
    /// A definition of a workspace; those of the workspace `local` are on this machine.
    pub fn workflow(
        workspace: &str,
        workflow: &str,
        version: Option<&str>,
        api_key: Option<ApiKey>,
    ) -> Self {
        if workspace == LOCAL_WORKSPACE {
            Self::Local(workflow.into())
        } else {
            Self::Platform(PlatformKey::new(workspace, workflow, version, api_key))
        }
    }

    /// A file of the watched folder.
    pub fn folder(name: &str) -> Self {
        Self::Folder(name.into())
    }

    /// A file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::File(path.as_ref().to_owned())
    }

    /// Key in memory. Keys of different sources never meet.
    pub(super) fn memory_key(&self, single_tenant: bool) -> String {
        match self {
            Self::Platform(key) => key.memory_key(single_tenant),
            Self::Local(id) => format!("local:{id}"),
            Self::Folder(name) => format!("folder:{name}"),
            Self::File(path) => format!("file:{}", path.display()),
        }
    }

    /// First digits of the API key's fingerprint: tells two keys of one definition apart.
    pub fn tenant(&self) -> Option<String> {
        match self {
            Self::Platform(key) if key.api_key.is_some() => {
                let mut tenant = key.tenant();
                tenant.truncate(8);
                Some(tenant)
            }
            _ => None,
        }
    }

    /// What strangers may read: as it is shown, but of a file only its name.
    pub fn public_name(&self) -> String {
        match self {
            Self::File(path) => {
                let name = path.file_name().unwrap_or_default();
                name.to_string_lossy().into_owned()
            }
            Self::Platform(_) | Self::Local(_) | Self::Folder(_) => self.to_string(),
        }
    }
}

/// `workspace/workflow`, with `@version` if one is pinned; the name or path of a file.
impl fmt::Display for DefinitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform(key) => {
                write!(f, "{}/{}", key.workspace, key.workflow)?;
                match &key.version {
                    Some(version) => write!(f, "@{version}"),
                    None => Ok(()),
                }
            }
            Self::Local(id) => write!(f, "{LOCAL_WORKSPACE}/{id}"),
            Self::Folder(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_shows_the_api_key() {
        let key = DefinitionKey::workflow("ws", "flow", Some("7"), Some(ApiKey::new("s3cret")));
        assert_eq!(key.to_string(), "ws/flow@7");
        for text in [
            format!("{key:?}"),
            key.memory_key(false),
            key.tenant().unwrap(),
        ] {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn no_key_and_the_word_local_are_one() {
        let key = |k: Option<&str>| {
            DefinitionKey::workflow("ws", "flow", None, k.map(ApiKey::new)).memory_key(false)
        };
        assert_eq!(key(None), key(Some("local")));
        assert_eq!(key(None), key(Some("")));
        assert_ne!(key(None), key(Some("other")));
    }

    #[test]
    fn definitions_of_the_local_workspace_need_no_platform() {
        let key = DefinitionKey::workflow("local", "my-flow", None, None);
        assert_eq!(key, DefinitionKey::Local("my-flow".into()));
    }
}
