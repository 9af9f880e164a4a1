//! What one message may weigh; beyond these it is refused, whoever sent it.

/// Bytes of start line and header section together (513 beyond).
pub const HEAD_MAX: usize = 64 * 1024;

/// Header fields of one message (513 beyond).
pub const FIELDS_MAX: usize = 200;

/// Via values of one message: what Max-Forwards 70 lets a request collect (513 beyond).
pub const VIAS_MAX: usize = 70;

/// Bytes of one body (413 beyond).
pub const BODY_MAX: usize = 256 * 1024;
