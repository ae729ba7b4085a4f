"""What a weights file holds, told without loading it: no object is built, no name is looked up, no number is copied but to look for NaN.

A checkpoint is a program for a small stack machine. Here that program is followed with inert descriptions in place of everything that it
would import, call or build, so that a hostile file can be described as safely as a good one.
"""
