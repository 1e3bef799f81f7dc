"""What is known of one document before it meets others: the hash of its text, its MinHash signature, its bands."""
