//! The names of people who have one besides their user id: those who were asked for it when they came.

use std::fmt;
use std::sync::Arc;

use crate::base::display_name::DisplayName;
use crate::base::ids::UserId;

/// Names by user. Written by the feature that asks for names, which stores them and bounds their number; read by
/// whoever shows people to others.
#[derive(Default)]
pub(crate) struct DisplayNames(papaya::HashMap<UserId, Arc<str>>);

impl DisplayNames {
    pub(crate) fn set(&self, user: UserId, name: &DisplayName) {
        self.0.pin().insert(user, name.as_str().into());
    }

    pub(crate) fn remove(&self, user: &UserId) {
        self.0.pin().remove(user);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `None`: they have none.
    pub(crate) fn of(&self, user: &UserId) -> Option<Arc<str>> {
        self.0.pin().get(user).cloned()
    }
}

impl fmt::Debug for DisplayNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DisplayNames({})", self.0.len())
    }
}
