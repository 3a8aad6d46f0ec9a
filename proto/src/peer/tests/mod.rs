mod membership;
mod messages;
mod rig;
