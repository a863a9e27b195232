"""Submissions as folders: a recipe goes in, the official file and what it was made of come out, repeatably.

Nothing here needs torch: training and prediction are commands in processes of their own.
"""
