"""What knows nothing of games: checked arrays, files, threads, random draws of multinomials and subsets."""
