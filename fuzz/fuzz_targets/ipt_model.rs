//! Takes any bytes as a `.vtr` file of an IPT. It must be refused with a reason, or run to the end.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vitreous_fuzz::model(data, vitreous_fuzz::run_ipt));
