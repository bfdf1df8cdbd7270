//! tollway-seller
