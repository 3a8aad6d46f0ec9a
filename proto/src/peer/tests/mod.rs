mod eclipse;
mod history;
mod membership;
mod messages;
mod retained;
mod rig;
mod slow;
mod spreading;
