//! Frames between firmware and host.
#![no_std]
