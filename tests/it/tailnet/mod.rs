//! Who gets in from the tailnet. A real tailscaled is not to be had here; what stands in for it answers as one does.

mod asking;
mod crowding;
pub mod entering;
mod hostile;
mod leaving;
#[cfg(target_os = "linux")]
mod namespaces;
mod slow;
