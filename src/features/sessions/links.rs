//! Links that make whoever opens them the server's owner: once, within an hour.
//!
//! A link is a file in the data directory, named by the hash of its token. Who can write there has the database anyway,
//! so that a second process (`rejoin session`) can make one while the server runs. It is used up by removing the file,
//! which succeeds once.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::entropy::Entropy;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::{Secret, SecretHash};

/// How every token of a link begins.
const PREFIX: &str = "rejoin_link_";
/// How the name of every file begins.
const FILE_PREFIX: &str = "administrator-link-";
/// How long a link is good.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Most links at once: each start may make one, and a server may be started often.
const LINKS_MAX: usize = 20;
/// The path that takes a link.
pub(crate) const PATH: &str = "/login";

/// Where links are made and used up. Shared by the start, which prints one, and the call that takes them.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    data_dir: Arc<Path>,
}

impl Links {
    pub(crate) fn in_directory(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.into() }
    }

    /// Makes a link. Returns its path and query. May block. Error: the directory takes no file.
    pub(crate) fn create(&self, entropy: &dyn Entropy, now: Timestamp) -> io::Result<String> {
        create(&self.data_dir, entropy, now)
    }

    /// Uses a link up, where that may block. Error: `Unauthenticated`, whatever is wrong with it.
    pub(crate) async fn redeem(&self, token: String, now: Timestamp) -> Result<()> {
        let data_dir = Arc::clone(&self.data_dir);
        tokio::task::spawn_blocking(move || redeem(&data_dir, &token, now)).await.map_err(Error::internal)?
    }
}

/// Makes a link; what is over goes. Returns its path and query. Error: the directory takes no file.
pub(crate) fn create(data_dir: &Path, entropy: &dyn Entropy, now: Timestamp) -> io::Result<String> {
    let mut kept = files(data_dir)?;
    kept.retain(|(_, expires_at)| *expires_at > Some(now));
    kept.sort_by_key(|(_, expires_at)| *expires_at);
    let surplus = (kept.len() + 1).saturating_sub(LINKS_MAX);
    let kept: Vec<PathBuf> = kept.into_iter().skip(surplus).map(|(path, _)| path).collect();
    for (path, _) in files(data_dir)?.into_iter().filter(|(path, _)| !kept.contains(path)) {
        fs::remove_file(path)?;
    }
    let token = Secret::new(PREFIX, entropy);
    let path = path_of(data_dir, &token.hash());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", now.plus(LIFETIME))?;
    Ok(format!("{PATH}?link={}", token.expose()))
}

/// Uses a link up. Error: `Unauthenticated`, whatever is wrong with it.
fn redeem(data_dir: &Path, token: &str, now: Timestamp) -> Result<()> {
    let unknown = || {
        let message =
            "this link is unknown, was used, or is over; 'rejoin session' makes another on the server's machine";
        Error::new(Kind::Unauthenticated, message)
    };
    let token = Secret::parse(PREFIX, token).ok_or_else(unknown)?;
    let path = path_of(data_dir, &token.hash());
    let expires_at = expires_at(&path).ok_or_else(unknown)?;
    // Of any number of requests one removes it.
    fs::remove_file(&path).map_err(|error| unknown().caused_by(error))?;
    if now < expires_at { Ok(()) } else { Err(unknown()) }
}

fn path_of(data_dir: &Path, hash: &SecretHash) -> PathBuf {
    data_dir.join(format!("{FILE_PREFIX}{hash}"))
}

/// All links, with when they are over; `None`: the file does not say.
fn files(data_dir: &Path) -> io::Result<Vec<(PathBuf, Option<Timestamp>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(FILE_PREFIX)) {
            let path = entry.path();
            found.push((path.clone(), expires_at(&path)));
        }
    }
    Ok(found)
}

fn expires_at(path: &Path) -> Option<Timestamp> {
    Timestamp::parse(fs::read_to_string(path).ok()?.trim())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::base::entropy::SeededEntropy;

    fn token(link: &str) -> &str {
        link.split_once('=').unwrap().1
    }

    #[test]
    fn a_link_is_good_once_and_for_an_hour_and_no_secret_is_stored() {
        let (directory, entropy) = (tempfile::tempdir().unwrap(), SeededEntropy::new(1));
        let (path, now) = (directory.path(), Timestamp::from_millis(1_000_000));
        let link = create(path, &entropy, now).unwrap();
        let (file, _) = files(path).unwrap().pop().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{file:?}{}", fs::read_to_string(&file).unwrap()).contains(&token(&link)[12..]));
        let late = create(path, &entropy, now).unwrap();
        assert!(redeem(path, token(&link), now.plus(LIFETIME - Duration::from_millis(1))).is_ok());
        assert!(redeem(path, token(&link), now).is_err());
        assert!(redeem(path, token(&late), now.plus(LIFETIME)).is_err());
        for bad in ["", "x", "rejoin_link_", "../rejoin.db", &token(&link).replace("link", "session")] {
            assert_eq!(redeem(path, bad, now).unwrap_err().kind(), Kind::Unauthenticated);
        }
    }

    #[test]
    fn only_so_many_are_kept_and_what_is_over_goes() {
        let (directory, entropy) = (tempfile::tempdir().unwrap(), SeededEntropy::new(2));
        let path = directory.path();
        let at = |second: u64| Timestamp::from_millis(0).plus(Duration::from_secs(second));
        let links: Vec<String> = (0..30).map(|second| create(path, &entropy, at(second)).unwrap()).collect();
        assert_eq!(files(path).unwrap().len(), LINKS_MAX);
        assert!(redeem(path, token(&links[29]), at(30)).is_ok() && redeem(path, token(&links[0]), at(30)).is_err());
        create(path, &entropy, at(4000)).unwrap();
        assert_eq!(files(path).unwrap().len(), 1);
    }
}
