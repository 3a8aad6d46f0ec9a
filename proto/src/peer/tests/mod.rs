mod eclipse;
mod history;
mod membership;
mod messages;
mod rig;
mod slow;
mod spreading;
