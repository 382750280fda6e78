//! Files as people write them: good ones and what they grant, wrong ones and what is said about them.

mod good;
mod wrong;
