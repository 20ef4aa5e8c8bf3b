// low rank
