"""What do the ways to clip a gradient do to its direction, and to training through spikes?"""
