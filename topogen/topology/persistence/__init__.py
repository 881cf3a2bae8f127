"""Persistence diagrams: engines, budgets, landmarks, distances between clouds."""
