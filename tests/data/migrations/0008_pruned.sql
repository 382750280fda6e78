UPDATE pruned SET until_us = 0;
