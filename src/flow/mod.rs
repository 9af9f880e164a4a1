//! Flow: a workflow file read, checked and run; it asks the world by effects and knows no SIP, RTP or clock.
