# Writes survfit.csv: Kaplan-Meier estimates by R's package survival, for data sets that come with it.
#   Rscript survfit.R > survfit.csv
# set, day, events, censored: the data, by day. surv: survfit's estimate from that day on.
# Lines "quantile" have in the column day the first day on which the estimate of 1 - surv reaches that share, by quantile().
library(survival)
cat("# R", paste(R.version$major, R.version$minor, sep = "."), "survival", as.character(packageVersion("survival")), "\n")
cat("set,day,events,censored,surv\n")
write <- function(name, time, event) {
  fit <- survfit(Surv(time, event) ~ 1, timefix = FALSE)
  cat(sprintf("%s,%d,%d,%d,%.12f\n", name, as.integer(fit$time), as.integer(fit$n.event), as.integer(fit$n.censor), fit$surv), sep = "")
  q <- quantile(fit, probs = c(0.25, 0.5, 0.9, 0.95), conf.int = FALSE)
  cat(sprintf("%s quantile,%s,,,%s\n", name, ifelse(is.na(q), "", format(q, trim = TRUE)), c("0.25", "0.5", "0.9", "0.95")), sep = "")
}
write("lung", lung$time, lung$status == 2)
write("veteran", veteran$time, veteran$status == 1)
write("aml", aml$time, aml$status == 1)
write("ovarian", ovarian$futime, ovarian$fustat == 1)
write("colon", colon$time[colon$etype == 1], colon$status[colon$etype == 1] == 1)
