//! The pages about agents, servers and tools.
