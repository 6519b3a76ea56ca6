// Placeholder translation unit until the network lands.
