//! A test guest.
