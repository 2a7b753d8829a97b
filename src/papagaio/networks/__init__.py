"""Students: networks by name, fitted to the contract's classes and image size."""
