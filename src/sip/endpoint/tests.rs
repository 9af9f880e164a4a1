//! Calls between two endpoints over a scripted link, in simulated time.
