#![no_main]
starling_fuzz::target!("cache_row");
