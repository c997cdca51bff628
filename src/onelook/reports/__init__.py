"""Reports of runs, the page of the data doctor, and the plots of a run."""
