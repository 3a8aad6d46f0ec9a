mod eclipse;
mod history;
mod membership;
mod messages;
mod rig;
mod sessions;
mod slow;
mod spreading;
