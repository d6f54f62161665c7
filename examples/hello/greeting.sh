echo "Hello from $1."
