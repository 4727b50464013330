//! The problem type of this feature.

use crate::base::error::{Kind, ProblemType};

/// Any call that creates a document may end with it.
pub(crate) static QUOTA_EXCEEDED: ProblemType = ProblemType {
    slug: "quota-exceeded",
    kind: Kind::Forbidden,
    title: "The plan allows no more of these for now",
    meaning: "The plan of the user allows so many new parties, encounters or creatures in a period, and so many were \
              created. Nothing was created; of a batch nothing was done.",
    remedy: "Wait until resetAt, when counting begins anew, or ask who runs the server for another plan. /api/v1/usage \
             tells what is left.",
};
