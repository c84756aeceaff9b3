"""What people ask of those who keep their memory: requests with their states and deadlines, and legal holds."""
