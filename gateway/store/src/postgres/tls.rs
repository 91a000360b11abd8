//! How connections are encrypted, where the URL asks for it (`sslmode`).
