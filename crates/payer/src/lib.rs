//! tollway-payer
