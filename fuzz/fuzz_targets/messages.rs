#![no_main]
starling_fuzz::target!("messages");
